/* The one header for what compilers spell differently. */
#ifndef FS_PORTABLE_H
#define FS_PORTABLE_H

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#pragma fp_contract(off) /* before 2022, /fp:precise contracts a*b + c */
#define FS_INLINE static __forceinline
#define FS_SHARED static __declspec(noinline)
#define FS_ONCE FS_SHARED
#define FS_THREAD_LOCAL __declspec(thread)
#define FS_PREFETCH(address) ((void)(address))
#define FS_ALIGNED __declspec(align(64)) /* to a cache line: vectors that straddle two cost double */
#else
#define FS_INLINE static inline __attribute__((always_inline, unused))
#define FS_SHARED static __attribute__((noinline, unused)) /* one copy, several callers */
#if defined(__clang__)
#define FS_ONCE FS_SHARED
#else
#define FS_ONCE static __attribute__((noinline, noclone, unused)) /* nor one for an argument's every value */
#endif
#define FS_THREAD_LOCAL _Thread_local
#define FS_PREFETCH(address) __builtin_prefetch((const void *)(address))
#define FS_ALIGNED _Alignas(64)
#endif

/* Before a loop over lanes that is not worth its size unrolled. */
#if defined(__GNUC__) && !defined(__clang__)
#define FS_ROLLED _Pragma("GCC unroll 1")
#else
#define FS_ROLLED
#endif

/* What has been stored behind a pointer is read again from there, not from where it was copied
 * from. */
#if defined(_MSC_VER) && !defined(__clang__)
#define FS_SETTLE(pointer) ((void)(pointer), _ReadWriteBarrier())
#else
#define FS_SETTLE(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")
#endif

#include <stdint.h>

/* For d_binade (simd/README.md): the bits of 1 and half a binade; the bits of 2^52, which an
 * integer is put under to make it a float64; and what is to be taken off that again. */
#define NEAREST_BINADE INT64_C(0x3ff8000000000000)
#define INTEGER_BITS INT64_C(0x4330000000000000)
#define INTEGER_BIAS (0x1p+52 + 1023.0)

/* The number of zero bits below the lowest one; bits != 0. */
FS_INLINE int fs_lowest_bit(uint32_t bits)
{
#if defined(_MSC_VER) && !defined(__clang__)
    unsigned long index;
    _BitScanForward(&index, bits);
    return (int)index;
#else
    return __builtin_ctz(bits);
#endif
}
#endif
