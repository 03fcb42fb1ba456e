/* The one header for what compilers spell differently. */
#ifndef FS_PORTABLE_H
#define FS_PORTABLE_H

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#define FS_INLINE static __forceinline
#define FS_SHARED static __declspec(noinline)
#define FS_THREAD_LOCAL __declspec(thread)
#define FS_PREFETCH(address) ((void)(address))
#else
#define FS_INLINE static inline __attribute__((always_inline, unused))
#define FS_SHARED static __attribute__((noinline, unused)) /* one copy, several callers */
#define FS_THREAD_LOCAL _Thread_local
#define FS_PREFETCH(address) __builtin_prefetch((const void *)(address))
#endif

#include <stdint.h>

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
