#define GM_LEVEL avx512
#include "../simd/avx512.h"
#include "../kernels/level.h"
