#include "cpu.h"
#if defined(__linux__)
#include <stdio.h>
#endif

static int64_t last_cache = INT64_C(32) << 20; /* that of a server of these years */

int64_t fs_cpu_last_cache(void) { return last_cache; }

int64_t fs_cpu_assume_cache(int64_t bytes)
{
    const int64_t before = last_cache;
    last_cache = bytes;
    return before;
}

#if defined(__linux__)
/* The cache that this processor shares with its neighbours, as the kernel tells: "32768K". (What
 * sysconf() tells of AMD's processors is the sum of all such caches: 384 MB where a core has
 * 32.) */
static int64_t shared_cache(void)
{
    long kilobytes = 0;
    FILE *file = fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r");
    if (!file)
        return 0;
    if (fscanf(file, "%ldK", &kilobytes) != 1)
        kilobytes = 0;
    fclose(file);
    return (int64_t)kilobytes * 1024;
}
#endif

/* Dear under a hypervisor, which each question goes to. */
void fs_cpu_init(void)
{
#if defined(__linux__)
    const int64_t bytes = shared_cache();
    if (bytes > 0)
        last_cache = bytes;
#endif
}

#if defined(__x86_64__) || defined(_M_X64) || defined(__i386__) || defined(_M_IX86)

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
static void cpuid(uint32_t leaf, uint32_t r[4])
{
    int out[4];
    __cpuidex(out, (int)leaf, 0);
    for (int i = 0; i < 4; i++)
        r[i] = (uint32_t)out[i];
}
static uint64_t enabled_state(void) { return _xgetbv(0); }
#else
#include <cpuid.h>
static void cpuid(uint32_t leaf, uint32_t r[4])
{
    __cpuid_count(leaf, 0, r[0], r[1], r[2], r[3]);
}
static uint64_t enabled_state(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((uint64_t)high << 32) | low;
}
#endif

static int has(uint32_t word, int bit) { return (int)((word >> bit) & 1u); }

/* Intel SDM vol. 1, 14.3 and 15.2: the bit of the instruction set counts only where the system
 * saves its registers (XCR0: 2 and 1 for the AVX halves, 7 to 5 for AVX-512's state). */
unsigned fs_cpu_features(void)
{
    uint32_t base[4], leaf1[4], leaf7[4];
    unsigned features = 0;
    cpuid(0, base);
    if (base[0] < 7)
        return 0;
    cpuid(1, leaf1);
    cpuid(7, leaf7);
    if (!has(leaf1[2], 27)) /* OSXSAVE */
        return 0;
    const uint64_t state = enabled_state();
    if ((state & 0x06) == 0x06 && has(leaf1[2], 28) && has(leaf1[2], 12) && has(leaf7[1], 5))
        features |= FS_CPU_AVX2;
    if ((features & FS_CPU_AVX2) && (state & 0xe6) == 0xe6 && has(leaf7[1], 16) &&
        has(leaf7[1], 17) && has(leaf7[1], 30) && has(leaf7[1], 31))
        features |= FS_CPU_AVX512;
    return features;
}

#elif defined(__aarch64__) || defined(_M_ARM64)

unsigned fs_cpu_features(void) { return FS_CPU_NEON; } /* part of the base architecture */

#else

unsigned fs_cpu_features(void) { return 0; }

#endif
