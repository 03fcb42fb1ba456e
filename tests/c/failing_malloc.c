/* Preloaded, lets a chosen allocation of the calling thread fail and counts what is not freed: for
 * tests/no_memory.py. With PYTHONMALLOC=malloc that is every object of Python, every array of NumPy
 * and all that the kernels ask for; mmap is where large results come from. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/types.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *data, size_t size);
void __libc_free(void *data);

static _Thread_local long left, asked;
static _Thread_local int armed;
static _Thread_local long blocks;

/* From now on the allocation with this number fails, from 1, and only that one; 0: none. */
void fm_arm(long number)
{
    left = number;
    asked = 0;
    armed = 1;
}

/* How many were asked for since. */
long fm_disarm(void)
{
    armed = 0;
    return asked;
}

/* Allocations of this thread less what it freed. */
long fm_blocks(void) { return blocks; }

static int fails(void)
{
    if (!armed)
        return 0;
    asked++;
    return --left == 0;
}

void *malloc(size_t size)
{
    void *data = fails() ? 0 : __libc_malloc(size);
    blocks += data != 0;
    return data;
}

void *calloc(size_t count, size_t size)
{
    void *data = fails() ? 0 : __libc_calloc(count, size);
    blocks += data != 0;
    return data;
}

void *realloc(void *old, size_t size)
{
    void *data = fails() ? 0 : __libc_realloc(old, size);
    blocks += !old && data;
    return data;
}

void free(void *data)
{
    blocks -= data != 0;
    __libc_free(data);
}

void *mmap(void *at, size_t size, int protection, int flags, int file, off_t offset)
{
    static void *(*real)(void *, size_t, int, int, int, off_t);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "mmap");
    return fails() ? MAP_FAILED : real(at, size, protection, flags, file, offset);
}
