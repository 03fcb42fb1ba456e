#include "../simd/neon_f64.h"
#include "../math/format_f64.h"
#define FS_INSTANCE fs_neon_f64
#include "../kernels/instance.inc.h"
