/* What selftest.c hashes to on every instruction set.
 * Written by:  python tests/test_selftest.py --update */
#ifndef FS_TEST_HASHES_H
#define FS_TEST_HASHES_H
#include <stdint.h>

static const struct {
    const char *dtype, *op;
    uint64_t hash;
} expected[] = {
    {"float32", "softmax", UINT64_C(0xb410bdcc235fb17b)},
    {"float32", "log_softmax", UINT64_C(0x9b019357792f97f9)},
    {"float32", "logsumexp", UINT64_C(0x3883d867b7b054b3)},
    {"float32", "loss", UINT64_C(0x4fd6361651f3c2ce)},
    {"float32", "mean_loss", UINT64_C(0xf063ad77c4d8e729)},
    {"float32", "sum_loss", UINT64_C(0x0a1737aa7785dac2)},
    {"float32", "gradient", UINT64_C(0x0f54faab8c09243e)},
    {"float32", "mean_gradient", UINT64_C(0xd08c9223b9b1da29)},
    {"float32", "weighted", UINT64_C(0x0a4572febfeb4c43)},
    {"float32", "smoothed", UINT64_C(0x5386b9741addccf2)},
    {"float32", "smoothed_grad", UINT64_C(0x5ae2e3838b26c819)},
    {"float32", "soft", UINT64_C(0xa68174465aa46394)},
    {"float32", "soft_gradient", UINT64_C(0x579ff6925af09324)},
    {"float32", "softmax_back", UINT64_C(0xdcf1ba2176debfb4)},
    {"float32", "log_soft_back", UINT64_C(0xa9cad8fa20132a8c)},
    {"float64", "softmax", UINT64_C(0x39a9b89478d2752d)},
    {"float64", "log_softmax", UINT64_C(0xc55b4fde2039fe97)},
    {"float64", "logsumexp", UINT64_C(0x2a0bd352151be2d7)},
    {"float64", "loss", UINT64_C(0x566754036805096f)},
    {"float64", "mean_loss", UINT64_C(0xad265d2a4e973f90)},
    {"float64", "sum_loss", UINT64_C(0x6de05a59fe5466ee)},
    {"float64", "gradient", UINT64_C(0xa9b589ef6bec9d62)},
    {"float64", "mean_gradient", UINT64_C(0x37beac814b997352)},
    {"float64", "weighted", UINT64_C(0xd13dd51fac472665)},
    {"float64", "smoothed", UINT64_C(0x42ed17dea2bf3f63)},
    {"float64", "smoothed_grad", UINT64_C(0x6ffed4cb2aefde00)},
    {"float64", "soft", UINT64_C(0x8f7e439c7b5f70f4)},
    {"float64", "soft_gradient", UINT64_C(0xc549e5f466799e0b)},
    {"float64", "softmax_back", UINT64_C(0x4c66b56c1d6339fa)},
    {"float64", "log_soft_back", UINT64_C(0x942d6f81897bb256)},
    {0, 0, 0},
};

#endif
