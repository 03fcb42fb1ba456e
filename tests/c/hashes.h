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
    {"float32", "state", UINT64_C(0x837a35e4886b3bd6)},
    {"float32", "joined_state", UINT64_C(0xb5dfa1c1617fc26f)},
    {"float32", "softmax_given", UINT64_C(0xf9619011269e9ae6)},
    {"float32", "log_soft_given", UINT64_C(0xaf296b8b7426b24a)},
    {"float64", "softmax", UINT64_C(0xb4b6f7d37d806f41)},
    {"float64", "log_softmax", UINT64_C(0x1ad5bf341e9312c9)},
    {"float64", "logsumexp", UINT64_C(0xe0e6c63af32ebb3c)},
    {"float64", "loss", UINT64_C(0xf26e0a2c9cb30902)},
    {"float64", "mean_loss", UINT64_C(0xad265d2a4e973f90)},
    {"float64", "sum_loss", UINT64_C(0x6de05a59fe5466ee)},
    {"float64", "gradient", UINT64_C(0x721aec89fe401364)},
    {"float64", "mean_gradient", UINT64_C(0x78f42cbe1a6d454e)},
    {"float64", "weighted", UINT64_C(0xe7abd5b5bcb18a7f)},
    {"float64", "smoothed", UINT64_C(0x90f9dc2f8c1d9c1f)},
    {"float64", "smoothed_grad", UINT64_C(0xd25529bbfb95d700)},
    {"float64", "soft", UINT64_C(0xbf0b3bf124c5c3d0)},
    {"float64", "soft_gradient", UINT64_C(0x6179539b281ebc99)},
    {"float64", "softmax_back", UINT64_C(0x4c66b56c1d6339fa)},
    {"float64", "log_soft_back", UINT64_C(0x942d6f81897bb256)},
    {"float64", "state", UINT64_C(0xcc238964aa26418c)},
    {"float64", "joined_state", UINT64_C(0x53eec93be38a88f3)},
    {"float64", "softmax_given", UINT64_C(0x1e94958966dfef51)},
    {"float64", "log_soft_given", UINT64_C(0xf97c306b9b093ea2)},
    {0, 0, 0},
};

#endif
