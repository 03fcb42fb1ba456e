/* In the place of csrc/cpu.c where AVX-512 is emulated: a processor that has everything, but so small
 * a cache that streaming stores are tried as well. */
#include "../../../csrc/cpu.h"

static int64_t last_cache = 1 << 16;

void fs_cpu_init(void) {}
int64_t fs_cpu_last_cache(void) { return last_cache; }
int64_t fs_cpu_assume_cache(int64_t bytes)
{
    const int64_t before = last_cache;
    last_cache = bytes;
    return before;
}
unsigned fs_cpu_features(void) { return FS_CPU_AVX2 | FS_CPU_AVX512; }
