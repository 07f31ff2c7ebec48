// Packed products, embeddings and experts: every format, over odd sizes.
#include "check.h"

namespace gristmill {

namespace {

// Where the float16 scales of a block lie, -1: nowhere else.
struct Halves { int first, second; };

Halves halves_of(int kind) {
    switch (kind) {
        case kQ4_1: case kQ5_1: case kQ4_K: case kQ5_K: return {0, 2};
        case kQ2_K: return {80, 82};
        case kQ3_K: return {108, -1};
        case kQ6_K: return {208, -1};
        case kTQ1_0: return {52, -1};
        case kTQ2_0: return {64, -1};
        case kMXFP4: case kNVFP4: case kIQ1_M: return {-1, -1};
        default: return {0, -1};
    }
}

void put_half(uint8_t* block, int at) {
    if (at < 0) return;
    const uint16_t small = 0x2000;      // 2^-7
    std::memcpy(block + at, &small, 2);
}

Bytes random_blocks(Data& data, int kind, int rows, int cols) {
    const Layout& layout = kLayouts[kind];
    const size_t n_blocks = static_cast<size_t>(rows) * cols / layout.block;
    Bytes blocks(n_blocks * layout.file_bytes);
    for (uint8_t& b : blocks) b = static_cast<uint8_t>(data.below(256));
    for (size_t i = 0; i < n_blocks; ++i) {
        uint8_t* block = blocks.data() + i * layout.file_bytes;
        if (kind == kKindF32) {
            float x = data.next();
            std::memcpy(block, &x, 4);
        } else if (kind == kKindF16 || kind == kKindBF16) {
            block[1] = static_cast<uint8_t>((block[1] & 0x83) | 0x38);      // an exponent near that of 1
        } else if (kind == kMXFP4) {
            block[0] = 122;
        } else if (kind == kIQ1_M) {
            for (int at : {49, 51, 53}) block[at] &= 15;
            block[55] = static_cast<uint8_t>((block[55] & 15) | 0x20);
        } else if (kind != kNVFP4) {
            put_half(block, halves_of(kind).first);
            put_half(block, halves_of(kind).second);
        }
    }
    return blocks;
}

struct Weight {                     // packed for one level
    Bytes panels;
    int kind, rows, cols;
    Weight(Context& c, Bytes blocks, int k, int r, int n) : kind(k), rows(r), cols(n) {
        panels.resize(static_cast<size_t>((rows + 15) / 16) * panel_bytes(kind, cols));
        PackArgs a{blocks.data(), panels.data(), static_cast<int64_t>(blocks.size()) / rows, panel_bytes(kind, cols), kind, rows, cols, 0};
        Program program;
        emit_pack(c, a, program);
        run(c, program);
    }
};

Floats multiply(Context& c, const Weight& w, const Floats& x, int first, int n, const Floats* norm = nullptr,
                const Floats* residual = nullptr, int32_t activation = 0) {
    Floats out(static_cast<size_t>(n) * w.rows);
    LinearArgs a{};
    a.x = x.data() + static_cast<size_t>(first) * w.cols;
    a.x_stride = a.cols = w.cols;
    a.norm = norm ? norm->data() : nullptr;
    a.eps = 1e-5f;
    a.residual = residual ? residual->data() : nullptr;
    a.residual_stride = w.rows;
    a.n = n;
    a.activation = static_cast<Activation>(activation);
    a.n_matrices = activation ? 2 : 1;
    for (Matrix& m : a.matrices) m = {w.panels.data(), nullptr, out.data(), w.rows, panel_bytes(w.kind, w.cols), w.kind, w.rows};
    Program program;
    emit_linear(c, a, program);
    run(c, program);
    return out;
}

Floats embed(Context& c, const Weight& w) {
    std::vector<int64_t> ids{0, w.rows - 1, w.rows / 2};
    Floats out(ids.size() * w.cols);
    EmbeddingArgs a{ids.data(), w.panels.data(), out.data(), panel_bytes(w.kind, w.cols), w.kind, w.rows, w.cols};
    Program program;
    emit_embedding(c, a, static_cast<int64_t>(ids.size()), program);
    run(c, program);
    return out;
}

void test_format(Context& level, Context& portable, Data& data, int kind, Report& report) {
    const int block = kLayouts[kind].block;
    const bool rounds = kind == kKindBF16 && std::string(level.level.name) == "avx512_bf16";
    for (int cols : {block, 3 * block, block < 64 ? 33 * 32 : 5 * block})
        for (int rows : {1, 15, 16, 17, 33}) {
            Bytes blocks = random_blocks(data, kind, rows, cols);
            Weight w(level, blocks, kind, rows, cols), plain(portable, blocks, kind, rows, cols);
            Floats x = data.floats(static_cast<size_t>(33) * cols), norm = data.floats(cols), residual = data.floats(33u * rows);
            std::string what = std::string(level.level.name) + " " + kLayouts[kind].name + " " + std::to_string(rows) + "x" + std::to_string(cols);
            for (int n : {1, 2, 3, 5, 12, 13, 33}) {
                Floats mine = multiply(level, w, x, 0, n), theirs = multiply(portable, plain, x, 0, n);
                report.check(rounds ? close(mine, theirs, 1e-2) : same(mine, theirs), what + " n=" + std::to_string(n));
                Floats last = multiply(level, w, x, n - 1, 1);
                report.check(std::memcmp(last.data(), mine.data() + static_cast<size_t>(n - 1) * rows, 4u * rows) == 0, what + " alone");
            }
            report.check(same(embed(level, w), embed(portable, plain)), what + " embedding");
            if (rounds) continue;
            report.check(same(multiply(level, w, x, 0, 5, &norm, &residual), multiply(portable, plain, x, 0, 5, &norm, &residual)), what + " fused");
            for (int activation : {1, 2})
                report.check(same(multiply(level, w, x, 0, 3, &norm, nullptr, activation),
                                  multiply(portable, plain, x, 0, 3, &norm, nullptr, activation)), what + " gated");
        }
}

Floats experts(Context& c, const Weight& w, int n_experts, const Floats& x, const std::vector<int64_t>& chosen) {
    const int n = static_cast<int>(chosen.size()), rows = w.rows / n_experts;
    Floats out(static_cast<size_t>(n) * rows);
    ExpertArgs a{};
    a.x = x.data(), a.experts = chosen.data(), a.out = out.data(), a.data = w.panels.data();
    a.panel_bytes = panel_bytes(w.kind, w.cols), a.expert_bytes = a.panel_bytes * (rows / 16);
    a.kind = w.kind, a.rows = rows, a.cols = w.cols, a.n = n, a.n_experts = n_experts, a.slots = 2, a.x_stride = w.cols;
    Program program;
    emit_experts(c, a, program);
    run(c, program);
    return out;
}

}  // namespace

void test_products(Context& level, Context& portable, Report& report) {
    Data data;
    for (int kind = 0; kind < kNumKinds; ++kind) test_format(level, portable, data, kind, report);
    for (int n : {2, 26, 80}) {
        Bytes blocks = random_blocks(data, kQ4_1, 5 * 32, 64);
        Weight w(level, blocks, kQ4_1, 5 * 32, 64), plain(portable, blocks, kQ4_1, 5 * 32, 64);
        Floats x = data.floats(static_cast<size_t>(n) / 2 * 64);
        std::vector<int64_t> chosen;
        for (int i = 0; i < n; ++i) chosen.push_back(data.below(5));
        report.check(same(experts(level, w, 5, x, chosen), experts(portable, plain, 5, x, chosen)), "experts n=" + std::to_string(n));
    }
}

}  // namespace gristmill
