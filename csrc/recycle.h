/* Memory of large results, kept for the next one.
 *
 * Memory that is fresh from the system costs a page fault a page, which for a result of hundreds of
 * megabytes takes longer than computing it. A block that is freed is therefore kept, as long as all
 * that is kept is within a limit; the oldest go first. A block is used again for what is at most an
 * eighth smaller, so little of it lies idle in use. Safe in any thread; in a forked child, blocks
 * from before the fork are not kept: their pages are the parent's and would be copied. */
#ifndef FS_RECYCLE_H
#define FS_RECYCLE_H
#include <stddef.h>

#define FS_RECYCLE_LEAST ((size_t)1 << 20) /* bytes: below, malloc recycles well enough */

/* Whether a block of this size is one to take from here: neither too small, nor past the limit. */
int fs_recycle_wants(size_t size);

/* The functions of an allocator of NumPy's (NEP 49); context is not used. Blocks of any size are
 * served, and free does not look at the size. 0: no memory, not even after all that was kept has
 * gone back. */
void *fs_recycle_malloc(void *context, size_t size);
void *fs_recycle_calloc(void *context, size_t count, size_t size);
void *fs_recycle_realloc(void *context, void *data, size_t size);
void fs_recycle_free(void *context, void *data, size_t size);

void fs_recycle_init(void);              /* once, before a fork */
void fs_recycle_set_limit(size_t bytes); /* 0, as in the beginning: keep nothing */
size_t fs_recycle_limit(void);
size_t fs_recycle_idle(void);    /* bytes kept */
size_t fs_recycle_release(void); /* gives all that is kept back to the system; bytes */

#endif
