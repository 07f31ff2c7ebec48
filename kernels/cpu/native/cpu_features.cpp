#include "cpu_features.h"

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace gristmill {

std::vector<const Level*> usable_levels() {
    std::vector<const Level*> levels;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
    if (vnni && __builtin_cpu_supports("avx512bf16")) levels.push_back(&level_avx512_bf16);
    if (vnni) levels.push_back(&level_avx512_vnni);
    if (avx512) levels.push_back(&level_avx512);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) levels.push_back(&level_avx2);
#elif defined(__aarch64__)
#if defined(__linux__)
    const unsigned long base = getauxval(AT_HWCAP), more = getauxval(AT_HWCAP2);
    const bool dotprod = base & HWCAP_ASIMDDP, i8mm = more & HWCAP2_I8MM;
#else
    const bool dotprod = true, i8mm = false;        // every Apple processor since the M1 has dot products
#endif
    if (dotprod && i8mm) levels.push_back(&level_neon_i8mm);
    if (dotprod) levels.push_back(&level_neon_dotprod);
    levels.push_back(&level_neon);
#endif
    levels.push_back(&level_portable);
    return levels;
}

}  // namespace gristmill
