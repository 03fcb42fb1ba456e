#include "../simd/scalar_f32.h"
#include "../math/format_f32.h"
#define FS_INSTANCE fs_scalar_f32
#include "../kernels/instance.inc.h"
