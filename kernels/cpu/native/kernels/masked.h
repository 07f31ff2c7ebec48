// A copy of numbers with those that are not allowed at minus infinity. 32 at a time: most words are all or nothing.
#pragma once

namespace gristmill { namespace GM_LEVEL {

static void masked(const void* args, Scratch, int64_t, int64_t) {       // one item
    const MaskedArgs& a = *static_cast<const MaskedArgs*>(args);
    for (int64_t first = 0; first < a.n; first += 32) {
        const uint32_t allowed = a.bits[first / 32];
        const int count = a.n - first < 32 ? static_cast<int>(a.n - first) : 32;
        const float* x = a.x + first;
        float* out = a.out + first;
        if (allowed == 0xffffffffu) {
            __builtin_memcpy(out, x, static_cast<size_t>(count) * 4);
        } else if (allowed == 0) {
            for (int i = 0; i < count; ++i) out[i] = -__builtin_inff();
        } else {
            for (int i = 0; i < count; ++i) out[i] = allowed >> i & 1 ? x[i] : -__builtin_inff();
        }
    }
}

}}  // namespace gristmill::GM_LEVEL
