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
    {"float32", "log_softmax", UINT64_C(0x5c242f2b5cf54e65)},
    {"float32", "logsumexp", UINT64_C(0x09188a0596188895)},
    {"float32", "loss", UINT64_C(0xef227f2e51e46368)},
    {"float32", "mean_loss", UINT64_C(0xf063ad77c4d8e729)},
    {"float32", "sum_loss", UINT64_C(0x0a1737aa7785dac2)},
    {"float32", "gradient", UINT64_C(0xb904dc069f207e93)},
    {"float32", "mean_gradient", UINT64_C(0x2de2e1d971e95b92)},
    {"float32", "weighted", UINT64_C(0x00331b2eb8e21380)},
    {"float32", "smoothed", UINT64_C(0x107866b2956b1110)},
    {"float32", "smoothed_grad", UINT64_C(0xc7f7a7c6e11a978d)},
    {"float32", "soft", UINT64_C(0xe180b47ae77acfe1)},
    {"float32", "soft_gradient", UINT64_C(0xdc5b0ade3fba8931)},
    {"float32", "z_loss", UINT64_C(0x34667b290db54380)},
    {"float32", "even_smoothed", UINT64_C(0xe231a529e4702a4a)},
    {"float32", "fine_weights", UINT64_C(0x7c2650dbcaed02a4)},
    {"float32", "soft_alone", UINT64_C(0x50bb1ebf611603b5)},
    {"float32", "soft_fine", UINT64_C(0x0f968cf37eb30fb0)},
    {"float32", "nll", UINT64_C(0x6dfad2fc15f39a03)},
    {"float32", "soft_nll", UINT64_C(0x1acc191946835194)},
    {"float32", "softmax_back", UINT64_C(0xa35a18572d1481ee)},
    {"float32", "log_soft_back", UINT64_C(0xa9cad8fa20132a8c)},
    {"float32", "state", UINT64_C(0x9d751a90bc98558c)},
    {"float32", "joined_state", UINT64_C(0xc7625ce4cf930f96)},
    {"float32", "softmax_given", UINT64_C(0xc280eebc4c2ecf6e)},
    {"float32", "log_soft_given", UINT64_C(0x2d8d38acff3c3a2b)},
    {"float64", "softmax", UINT64_C(0x63fe049b303ad4fc)},
    {"float64", "log_softmax", UINT64_C(0x0bb7810984c65f27)},
    {"float64", "logsumexp", UINT64_C(0x87028c767b5d772b)},
    {"float64", "loss", UINT64_C(0xe806d0382e9eb52b)},
    {"float64", "mean_loss", UINT64_C(0xd69d5b888f5ff85b)},
    {"float64", "sum_loss", UINT64_C(0x06391fd1b8a6a141)},
    {"float64", "gradient", UINT64_C(0x455ea6816b317e08)},
    {"float64", "mean_gradient", UINT64_C(0x4e06e311efc09442)},
    {"float64", "weighted", UINT64_C(0x94126cf55303f8f6)},
    {"float64", "smoothed", UINT64_C(0xc6ccca87669248c0)},
    {"float64", "smoothed_grad", UINT64_C(0x3025017148b40888)},
    {"float64", "soft", UINT64_C(0x812efe971ff4fed3)},
    {"float64", "soft_gradient", UINT64_C(0x9e873097b5a20d92)},
    {"float64", "z_loss", UINT64_C(0x99adf99460ad2454)},
    {"float64", "even_smoothed", UINT64_C(0x97e7fe172d86f37c)},
    {"float64", "fine_weights", UINT64_C(0x1ddea7a3fb9de432)},
    {"float64", "soft_alone", UINT64_C(0x1cde6d0f93103d0e)},
    {"float64", "soft_fine", UINT64_C(0xef77948eee72c05a)},
    {"float64", "nll", UINT64_C(0x652140384adb0b96)},
    {"float64", "soft_nll", UINT64_C(0xb7cbb7eeff12cf33)},
    {"float64", "softmax_back", UINT64_C(0x6abdb9461f0f9dfc)},
    {"float64", "log_soft_back", UINT64_C(0x0f199c93f7bddde5)},
    {"float64", "state", UINT64_C(0xa08521a15ba1084b)},
    {"float64", "joined_state", UINT64_C(0x16e11704bbae2359)},
    {"float64", "softmax_given", UINT64_C(0x872f1727606ad762)},
    {"float64", "log_soft_given", UINT64_C(0xbcbf0390f35da5b7)},
    {0, 0, 0},
};

#endif
