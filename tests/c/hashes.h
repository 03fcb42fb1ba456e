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
    {"float32", "log_softmax", UINT64_C(0x00d2db60354f4a99)},
    {"float32", "logsumexp", UINT64_C(0x495a94cf301f8169)},
    {"float32", "loss", UINT64_C(0x48cda33b889b9b68)},
    {"float32", "mean_loss", UINT64_C(0xf063ad77c4d8e729)},
    {"float32", "sum_loss", UINT64_C(0x0a1737aa7785dac2)},
    {"float32", "gradient", UINT64_C(0x1dc31f6deb07bf12)},
    {"float32", "mean_gradient", UINT64_C(0x74718a2b187e73b9)},
    {"float32", "weighted", UINT64_C(0xc2e0fd70f490c971)},
    {"float32", "smoothed", UINT64_C(0xc5a0c1c8951bf761)},
    {"float32", "smoothed_grad", UINT64_C(0x397afa0e5a1f792d)},
    {"float32", "soft", UINT64_C(0xe180b47ae77acfe1)},
    {"float32", "soft_gradient", UINT64_C(0x1ab35b955e4367d7)},
    {"float32", "z_loss", UINT64_C(0x6bd90a6b8d320102)},
    {"float32", "even_smoothed", UINT64_C(0x02a4ce53f9c8b664)},
    {"float32", "fine_weights", UINT64_C(0xec559dc20d35c8a4)},
    {"float32", "soft_alone", UINT64_C(0xdb471c64aa7b1dce)},
    {"float32", "soft_fine", UINT64_C(0xe638af4a23fe4c3a)},
    {"float32", "nll", UINT64_C(0x6dfad2fc15f39a03)},
    {"float32", "soft_nll", UINT64_C(0x1acc191946835194)},
    {"float32", "softmax_back", UINT64_C(0xa35a18572d1481ee)},
    {"float32", "log_soft_back", UINT64_C(0xa9cad8fa20132a8c)},
    {"float32", "state", UINT64_C(0x7488158472994954)},
    {"float32", "joined_state", UINT64_C(0x048f38f7eb7ae005)},
    {"float32", "softmax_given", UINT64_C(0xc280eebc4c2ecf6e)},
    {"float32", "log_soft_given", UINT64_C(0x2d8d38acff3c3a2b)},
    {"float64", "softmax", UINT64_C(0x63fe049b303ad4fc)},
    {"float64", "log_softmax", UINT64_C(0x82adb1bb317c4ca8)},
    {"float64", "logsumexp", UINT64_C(0x58e88eec9cdf52a3)},
    {"float64", "loss", UINT64_C(0xf9bbe02bcefa65cd)},
    {"float64", "mean_loss", UINT64_C(0xd69d5b888f5ff85b)},
    {"float64", "sum_loss", UINT64_C(0x06391fd1b8a6a141)},
    {"float64", "gradient", UINT64_C(0x37b7818359215715)},
    {"float64", "mean_gradient", UINT64_C(0xf40013e7d0d3a06b)},
    {"float64", "weighted", UINT64_C(0x130a706cac7306d4)},
    {"float64", "smoothed", UINT64_C(0xcfb095aef4324c78)},
    {"float64", "smoothed_grad", UINT64_C(0x2a189202db6e7bbd)},
    {"float64", "soft", UINT64_C(0x81bdeecf5fd588b5)},
    {"float64", "soft_gradient", UINT64_C(0xccf68c8d0283e0ad)},
    {"float64", "z_loss", UINT64_C(0x416204bf839e3ded)},
    {"float64", "even_smoothed", UINT64_C(0xd42d05f16ec0cbba)},
    {"float64", "fine_weights", UINT64_C(0xb41be58491a8ff9b)},
    {"float64", "soft_alone", UINT64_C(0x15a138da79bb2cc4)},
    {"float64", "soft_fine", UINT64_C(0x3508b1df002dd524)},
    {"float64", "nll", UINT64_C(0x652140384adb0b96)},
    {"float64", "soft_nll", UINT64_C(0xb7cbb7eeff12cf33)},
    {"float64", "softmax_back", UINT64_C(0x6abdb9461f0f9dfc)},
    {"float64", "log_soft_back", UINT64_C(0x0f199c93f7bddde5)},
    {"float64", "state", UINT64_C(0x6a59bd2d6b31419f)},
    {"float64", "joined_state", UINT64_C(0x2ad826706038b891)},
    {"float64", "softmax_given", UINT64_C(0x37596813392b2cfa)},
    {"float64", "log_soft_given", UINT64_C(0xd6444e8b8e3fc66b)},
    {0, 0, 0},
};

#endif
