/* What the processor has and the operating system lets us use. */
#ifndef FS_CPU_H
#define FS_CPU_H
#include <stdint.h>

enum {
    FS_CPU_AVX2 = 1,   /* AVX2 and FMA */
    FS_CPU_AVX512 = 2, /* AVX-512 F, DQ, BW, VL */
    FS_CPU_NEON = 4
};

unsigned fs_cpu_features(void);

/* Bytes of the last-level cache, or a guess; asked for once, by fs_cpu_init. */
int64_t fs_cpu_last_cache(void);
int64_t fs_cpu_assume_cache(int64_t bytes); /* for tests: what was assumed before comes back */
void fs_cpu_init(void);

#endif
