/* Everything of one instance: an isa/ file includes a vocabulary and a format, defines
 * FS_INSTANCE, and then this. All is static but the one table. */
#include <math.h>
#include "../math/finish.h"
#include "../math/state.h"
#include "../math/exp.inc.h"
#include "rows.h"
#include "sums.inc.h"
#include "extremes.inc.h"
#include "block.inc.h"
#include "sweep.inc.h"
#include "pieces.inc.h"
#include "scale.inc.h"
#include "short_rows.inc.h"
#include "softmax.inc.h"
#include "logsumexp.inc.h"
#include "log_softmax.inc.h"
#include "cross_entropy.inc.h"
#include "mixture.inc.h"
#include "cross_entropy_mixed.inc.h"
#include "nll.inc.h"
#include "backward.inc.h"
#include "state.inc.h"
#if V_LANES > 1
#include "../math/finish_lanes.inc.h"
#include "tile.inc.h"
#include "cols_sums.inc.h"
#include "cols.inc.h"
#include "cols_softmax.inc.h"
#include "cols_cross_entropy.inc.h"
#include "cols_mixture.inc.h"
#include "cols_mixed.inc.h"
#include "cols_mixed_grad.inc.h"
#define IF_LANES(kernel) kernel
#else /* rows side by side in one lane would be rows one by one */
#define IF_LANES(kernel) 0
#endif
#include "rows_values.inc.h"
#include "log_softmax_rows.inc.h"
#include "mixed_rows.inc.h"
#if V_LANES > 1 && VECTORS == 1
#include "across.inc.h"
#include "across_ops.inc.h"
#define IF_ACROSS(kernel) kernel
#else
#define IF_ACROSS(kernel) 0
#endif

extern const fs_kernels FS_INSTANCE;
const fs_kernels FS_INSTANCE = {
    BLOCK,
    V_LANES,
    softmax_rows,
    log_softmax_rows,
    logsumexp_rows,
    cross_entropy_rows,
    cross_entropy_grad_rows,
    cross_entropy_mixed_rows,
    cross_entropy_mixed_grad_rows,
    nll_soft_rows,
    softmax_backward_rows,
    log_softmax_backward_rows,
    state_rows,
    softmax_given_rows,
    log_softmax_given_rows,
    IF_LANES(softmax_cols),
    IF_LANES(log_softmax_cols),
    IF_LANES(logsumexp_cols),
    IF_LANES(cross_entropy_cols),
    IF_LANES(cross_entropy_grad_cols),
    IF_LANES(cross_entropy_mixed_cols),
    IF_LANES(cross_entropy_mixed_grad_cols),
    IF_ACROSS(softmax_across),
    IF_ACROSS(log_softmax_across),
    IF_ACROSS(logsumexp_across),
    IF_ACROSS(cross_entropy_across),
    IF_ACROSS(cross_entropy_grad_across),
    PIECE,
    IF_LANES(add_values),
};
