/* float64 has no wider type to add in: every lane carries the rounding errors of its sum (Knuth's
 * TwoSum), written once in terms of the vocabulary that the including header has just defined. */
typedef struct { v_t sum, error; } v_acc_t;
FS_INLINE v_acc_t v_acc_zero(void)
{
    v_acc_t a = {v_set1(0.0), v_set1(0.0)};
    return a;
}
FS_INLINE void v_acc_add(v_acc_t *a, v_t g)
{
    const v_t sum = v_add(a->sum, g);
    const v_t part = v_sub(sum, a->sum);
    const v_t lost = v_add(v_sub(a->sum, v_sub(sum, part)), v_sub(g, part));
    a->sum = sum;
    a->error = v_add(a->error, lost);
}
FS_INLINE void v_acc_fma(v_acc_t *s, v_t a, v_t b)
{
    const v_t product = v_mul(a, b);
    s->error = v_add(s->error, v_product_error(a, b, product));
    v_acc_add(s, product);
}
FS_INLINE void v_acc_store(const v_acc_t *a, double *sum, double *error)
{
    v_store(sum, a->sum);
    v_store(error, a->error);
}
