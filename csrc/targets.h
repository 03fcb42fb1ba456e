/* Labels and weights: checked as a whole before anything is written, then read tile by tile. */
#ifndef FS_TARGETS_H
#define FS_TARGETS_H
#include "dispatch.h"
#include "fastsoftmax.h"
#include "layout.h"
#include "pace.h"

typedef struct {
    double weight_sum; /* of the counted samples: what a mean divides by */
} fs_target_sums;

/* Every label in [0, n) or ignored; else the first bad one in C order. */
fs_status fs_targets_check(const fs_call *call, const fs_layout *layout, const fs_kernels *kernels,
                           fs_pace *pace, fs_target_sums *sums);

/* The weights of samples, and those times that of their label's class (class_weight 0: one); what
 * is not counted (all: everything is) has none. */
void fs_targets_weights(const fs_call *call, const fs_layout *layout, const int64_t *offsets,
                        int64_t count, const double *class_weight, const int64_t *target, int all,
                        double *sample, double *weight);

/* Whether samples differ in weight. */
int fs_is_weighted(const fs_call *call);

/* What the gradient of the reduced loss is divided by; 0 where the mean is over nothing. */
double fs_targets_divisor(const fs_call *call, const fs_target_sums *sums);

/* What multiplies a tile's losses and gradients. */
typedef struct {
    double *weight;   /* the loss: sample weight, and the label's class weight if asked for; without */
    double *sample;   /* the z-loss: sample weight; either only if some weigh or with z_loss */
    double *factor;   /* the gradient of the loss */
    double *z_factor; /* the gradient of the z-loss, if there is one */
    double *power;    /* room for what range.h makes of the last two */
    double one;       /* these, if they are the same for all samples that count; else 0 */
} fs_sample_factors;

/* A tile's classes (negative: not counted), the weights of its losses, and the factors of its
 * gradients. A label is looked at again: one that another thread has changed meanwhile to something
 * out of range is not counted. with_class_weight: multiply the weights by that of the label. With
 * soft targets there are no labels: every sample counts. */
void fs_targets_tile(const fs_call *call, const fs_layout *layout, const int64_t *offsets,
                     int64_t count, double divisor, int with_class_weight, int64_t *target,
                     fs_sample_factors *factors);

#endif
