/* What the processor has and the operating system lets us use. */
#ifndef FS_CPU_H
#define FS_CPU_H

enum {
    FS_CPU_AVX2 = 1,   /* AVX2 and FMA */
    FS_CPU_AVX512 = 2, /* AVX-512 F, DQ, BW, VL */
    FS_CPU_NEON = 4
};

unsigned fs_cpu_features(void);

#endif
