/* In the place of csrc/cpu.c where AVX-512 is emulated: a processor that has everything. */
#include "../../../csrc/cpu.h"

unsigned fs_cpu_features(void) { return FS_CPU_AVX2 | FS_CPU_AVX512; }
