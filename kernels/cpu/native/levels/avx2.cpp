#define GM_LEVEL avx2
#include "../simd/avx2.h"
#include "../kernels/level.h"
