#include "../simd/avx2_f64.h"
#include "../math/format_f64.h"
#define FS_INSTANCE fs_avx2_f64
#include "../kernels/instance.inc.h"
