/* What selftest.c hashes to on every instruction set.
 * Written by:  python tests/test_selftest.py --update */
#ifndef FS_TEST_HASHES_H
#define FS_TEST_HASHES_H
#include <stdint.h>

static const struct {
    const char *dtype, *op;
    uint64_t hash;
} expected[] = {
    {0, 0, 0},
};

#endif
