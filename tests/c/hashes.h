/* What selftest.c hashes to on every instruction set.
 * Written by:  python tests/test_selftest.py --update */
#ifndef FS_TEST_HASHES_H
#define FS_TEST_HASHES_H
#include <stdint.h>

static const struct {
    const char *dtype, *op;
    uint64_t hash;
} expected[] = {
    {"float32", "softmax", UINT64_C(0x243143bbd3db7e55)},
    {"float32", "log_softmax", UINT64_C(0x029959028f5c1eea)},
    {"float32", "logsumexp", UINT64_C(0x04891de7de600c86)},
    {"float32", "loss", UINT64_C(0xc1094d8738cc7cc8)},
    {"float32", "mean_loss", UINT64_C(0xf063ad77c4d8e729)},
    {"float32", "sum_loss", UINT64_C(0x0a1737aa7785dac2)},
    {"float32", "gradient", UINT64_C(0xfec56583b3348892)},
    {"float32", "mean_gradient", UINT64_C(0x088503deffc69d99)},
    {"float32", "weighted", UINT64_C(0xc2e0fd70f490c971)},
    {"float32", "smoothed", UINT64_C(0xc5a0c1c8951bf761)},
    {"float32", "smoothed_grad", UINT64_C(0x282f3594bd02eb9d)},
    {"float32", "soft", UINT64_C(0xe180b47ae77acfe1)},
    {"float32", "soft_gradient", UINT64_C(0x3cc644865d29e4cf)},
    {"float32", "softmax_back", UINT64_C(0xdcf1ba2176debfb4)},
    {"float32", "log_soft_back", UINT64_C(0xa9cad8fa20132a8c)},
    {"float64", "softmax", UINT64_C(0xb4b6f7d37d806f41)},
    {"float64", "log_softmax", UINT64_C(0xf819d59c05a06d40)},
    {"float64", "logsumexp", UINT64_C(0xe223be710b53295d)},
    {"float64", "loss", UINT64_C(0x08d2f9d32d8f5a01)},
    {"float64", "mean_loss", UINT64_C(0xb48b1e4d70e7575d)},
    {"float64", "sum_loss", UINT64_C(0xf1b1fd5489ff9c73)},
    {"float64", "gradient", UINT64_C(0x553cac2caa5d2be3)},
    {"float64", "mean_gradient", UINT64_C(0x5c2b3dd6bf597b97)},
    {"float64", "weighted", UINT64_C(0x759a5e5781a4810e)},
    {"float64", "smoothed", UINT64_C(0x6bf6c5ae2f92087f)},
    {"float64", "smoothed_grad", UINT64_C(0x976f2dcc5797f06a)},
    {"float64", "soft", UINT64_C(0x7be9151f20c86121)},
    {"float64", "soft_gradient", UINT64_C(0x6179539b281ebc99)},
    {"float64", "softmax_back", UINT64_C(0x4c66b56c1d6339fa)},
    {"float64", "log_soft_back", UINT64_C(0x942d6f81897bb256)},
    {0, 0, 0},
};

#endif
