#define GM_LEVEL avx512_vnni
#define GM_VNNI
#include "../simd/avx512.h"
#include "../kernels/level.h"
