// Encoders: blocks of every format, with and without importance, of numbers that are ordinary and that are not.
#include <cmath>

#include "check.h"

namespace gristmill {

namespace {

struct Encoded {
    const char* name;
    int32_t format, block_elems, block_bytes;
};
constexpr Encoded kFormats[] = {
    {"q4_0", 2, 32, 18},      {"q4_1", 3, 32, 20},      {"q5_0", 6, 32, 22},      {"q5_1", 7, 32, 24},
    {"q8_0", 8, 32, 34},      {"q2_k", 10, 256, 84},    {"q3_k", 11, 256, 110},   {"q4_k", 12, 256, 144},
    {"q5_k", 13, 256, 176},   {"q6_k", 14, 256, 210},   {"iq2_xxs", 16, 256, 66}, {"iq2_xs", 17, 256, 74},
    {"iq3_xxs", 18, 256, 98}, {"iq1_s", 19, 256, 50},   {"iq4_nl", 20, 32, 18},   {"iq3_s", 21, 256, 110},
    {"iq2_s", 22, 256, 82},   {"iq4_xs", 23, 256, 136}, {"iq1_m", 29, 256, 56},   {"tq1_0", 34, 256, 54},
    {"tq2_0", 35, 256, 66},   {"mxfp4", 39, 32, 17},    {"nvfp4", 40, 64, 36},
};

// Rows of 256: ordinary, zeros, one large element, all equal, tiny, and with every magnitude that matters.
Floats rows_of_all_kinds(Data& data) {
    constexpr size_t kCols = 256;
    Floats x = data.floats(6 * kCols);
    for (size_t i = 0; i < kCols; ++i) {
        x[kCols + i] = 0.0f;
        x[2 * kCols + i] *= i == 77 ? 1e4f : 1e-3f;
        x[3 * kCols + i] = -0.3f;
        x[4 * kCols + i] *= 1e-30f;
        x[5 * kCols + i] *= std::exp2(static_cast<float>(data.below(24)) - 12.0f);
    }
    return x;
}

Bytes encoded(Context& context, const Encoded& format, const Floats& x, const Floats& importance) {
    constexpr int64_t kCols = 256;
    const int64_t n = static_cast<int64_t>(x.size()) / kCols, row_bytes = kCols / format.block_elems * format.block_bytes;
    Bytes out(static_cast<size_t>(n * row_bytes));
    EncodeArgs a{};
    a.x = x.data(), a.importance = importance.empty() ? nullptr : importance.data(), a.out = out.data();
    a.importance_stride = importance.size() == x.size() ? kCols : 0;
    a.cols = kCols, a.row_bytes = row_bytes;
    a.format = format.format, a.block_elems = format.block_elems, a.block_bytes = format.block_bytes;
    Program program;
    emit_items(context, context.level.encode, a, n, 1, program);
    run(context, program);
    return out;
}

}  // namespace

void test_encoders(Context& level, Context& portable, Report& report) {
    Data data;
    const Floats x = rows_of_all_kinds(data);
    Floats importance = data.floats(x.size());
    for (float& v : importance) v *= v;
    for (size_t i = 0; i < 40; ++i) importance[i] = 0.0f;
    const Floats weights[] = {{}, Floats(importance.begin(), importance.begin() + 256), importance};
    for (const Encoded& format : kFormats)
        for (const Floats& w : weights)
            report.check(encoded(level, format, x, w) == encoded(portable, format, x, w),
                         std::string("encode ") + format.name + " with " + std::to_string(w.size()) + " weights");
}

}  // namespace gristmill
