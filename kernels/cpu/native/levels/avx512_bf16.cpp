#define GM_LEVEL avx512_bf16
#define GM_VNNI
#define GM_BF16
#include "../simd/avx512.h"
#include "../kernels/level.h"
