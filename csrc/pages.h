/* Large pieces of memory from the operating system, in whole pages where it has mmap. */
#ifndef FS_PAGES_H
#define FS_PAGES_H
#include <stddef.h>
#include <stdint.h>

#define FS_PAGES_HEAD 64 /* bytes in front of the data that are the caller's as well */

typedef struct {
    char *data;      /* begins a page, and a huge one where it is large; else a cache line */
    size_t capacity; /* bytes from data on, at least what was asked for */
    void *base;      /* of what the system gave */
    size_t bytes;
} fs_pages;

int fs_pages_take(fs_pages *pages, size_t size); /* 0: no memory */
void fs_pages_give_back(const fs_pages *pages);

/* Whether large pieces ask for huge pages (Linux); yes unless told otherwise. */
void fs_pages_huge(int wanted);

/* The memory that the machine has or ulimit grants, whichever is less; 0: unknown. */
uint64_t fs_pages_installed(void);

#endif
