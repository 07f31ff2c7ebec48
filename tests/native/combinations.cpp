// What comes together in a step: batches of several blocks, biases, several matrices in one product, strides, repeated
// operands, unused experts, many sequences at once.
#include <algorithm>
#include <cmath>

#include "check.h"

namespace gristmill {

namespace {

template <class Emit> void run_emitted(Context& c, Emit emit) {
    Program program;
    emit(program);
    run(c, std::move(program));
}

// -- products --

Bytes random_blocks(Data& data, int kind, int rows, int cols) {     // kinds whose float16 scales come first
    const Layout& layout = kLayouts[kind];
    Bytes blocks(static_cast<size_t>(rows) * cols / layout.block * layout.file_bytes);
    for (uint8_t& b : blocks) b = static_cast<uint8_t>(data.below(256));
    const uint8_t small = 0x20;     // the high byte of about 2^-7
    for (size_t at = 0; at < blocks.size(); at += layout.file_bytes) {
        uint8_t* block = blocks.data() + at;
        const float x = data.next();
        if (kind == kKindF32) std::memcpy(block, &x, 4);
        else if (is_float_kind(kind)) block[1] = static_cast<uint8_t>((block[1] & 0x83) | 0x38);
        else block[1] = small;
        if (kind == kQ4_K) block[3] = small;
    }
    return blocks;
}

Bytes packed(Context& c, Data& data, int kind, int rows, int cols) {
    Bytes blocks = random_blocks(data, kind, rows, cols), panels((rows + 15) / 16 * panel_bytes(kind, cols));
    const int64_t row_bytes = static_cast<int64_t>(blocks.size()) / rows;
    PackArgs a{blocks.data(), panels.data(), row_bytes, panel_bytes(kind, cols), kind, rows, cols, 0};
    run_emitted(c, [&](Program& out) { emit_pack(c, a, out); });
    return panels;
}

struct Product {
    std::vector<int> kinds, rows;   // of the matrices
    int n, cols;
    bool norm, residual, bias;
    Activation activation;
};

// Rows [first, first + count) of the product; the matrices' outputs lie side by side.
Floats multiply(Context& c, const Product& p, int first, int count) {
    Data data;
    const int n_matrices = static_cast<int>(p.kinds.size()), stride = p.cols + 5;
    int width = 0;
    for (int i = 0; i < (p.activation ? 1 : n_matrices); ++i) width += p.rows[i];
    Floats x = data.floats((p.n - 1) * stride + p.cols), norm = data.floats(p.cols);
    Floats residual = data.floats(p.n * width), out(count * width);
    std::vector<Bytes> panels;
    std::vector<Floats> biases;
    LinearArgs a{};
    a.x = x.data() + first * stride, a.x_stride = stride, a.eps = 1e-5f;
    a.norm = p.norm ? norm.data() : nullptr;
    a.residual = p.residual ? residual.data() + first * width : nullptr, a.residual_stride = width;
    a.n = count, a.cols = p.cols, a.n_matrices = n_matrices, a.activation = p.activation;
    for (int i = 0, at = 0; i < n_matrices; at += p.rows[i++]) {
        panels.push_back(packed(c, data, p.kinds[i], p.rows[i], p.cols));
        biases.push_back(data.floats(p.rows[i]));
        const float* bias = p.bias ? biases[i].data() : nullptr;
        float* to = i && p.activation ? nullptr : out.data() + at;
        a.matrices[i] = {panels[i].data(), bias, to, width, panel_bytes(p.kinds[i], p.cols), p.kinds[i], p.rows[i]};
    }
    run_emitted(c, [&](Program& program) { emit_linear(c, a, program); });
    return out;
}

void check_product(Context& level, Context& portable, const Product& p, Report& report) {
    Floats mine = multiply(level, p, 0, p.n), theirs = multiply(portable, p, 0, p.n);
    const bool rounds = p.kinds[0] == kKindBF16 && std::string(level.level.name) == "avx512_bf16";
    std::string what = std::string(level.level.name) + " product n=" + std::to_string(p.n);
    for (int kind : p.kinds) what += std::string(" ") + kLayouts[kind].name;
    report.check(rounds ? close(mine, theirs, 1e-2) : same(mine, theirs), what);
    for (int row : {0, p.n / 2, p.n - 1}) {
        Floats alone = multiply(level, p, row, 1);
        report.check(!std::memcmp(alone.data(), mine.data() + row * alone.size(), alone.size() * 4), what + " alone");
    }
}

void test_linear(Context& level, Context& portable, Report& report) {
    auto check = [&](const Product& p) { check_product(level, portable, p, report); };
    for (int n : {1, 2, 12, 31, 200}) {         // 200 rows: several blocks of tokens on every level
        for (int kind : {kKindF32, kKindF16, kKindBF16, kQ4_0, kQ8_0, kQ4_K})
            for (int with : {0, 1, 2, 4, 7})
                check({{kind}, {33}, n, 768, (with & 1) > 0, (with & 2) > 0, (with & 4) > 0, kNone});
        for (bool norm : {false, true})
            check({{kQ4_K, kQ8_0, kKindF16, kQ4_0}, {33, 1, 16, 47}, n, 768, norm, false, true, kNone});
        for (Activation activation : {kSilu, kGelu})
            for (bool bias : {false, true}) check({{kQ4_0, kQ8_0}, {33, 33}, n, 96, true, !bias, bias, activation});
        check({{kKindF32}, {17}, n, 37, true, true, true, kNone});
    }
}

Floats experts(Context& c, int kind, int rows, int n, int per_input) {
    constexpr int n_experts = 4, cols = 256;
    Data data;
    Bytes stack;
    for (int i = 0; i < n_experts; ++i) {
        Bytes one = packed(c, data, kind, rows, cols);
        stack.insert(stack.end(), one.begin(), one.end());
    }
    Floats x = data.floats((n + per_input - 1) / per_input * cols), out(n * rows);
    std::vector<int64_t> chosen(n);
    for (int64_t& e : chosen) e = data.below(3) * 3 / 2;        // 0, 1 and 3: nobody chooses 2
    ExpertArgs a{};
    a.x = x.data(), a.experts = chosen.data(), a.out = out.data(), a.data = stack.data();
    a.panel_bytes = panel_bytes(kind, cols), a.expert_bytes = static_cast<int64_t>(stack.size()) / n_experts;
    a.kind = kind, a.rows = rows, a.cols = cols, a.n = n, a.n_experts = n_experts;
    a.slots = per_input, a.x_stride = cols;
    run_emitted(c, [&](Program& program) { emit_experts(c, a, program); });
    return out;
}

void test_experts(Context& level, Context& portable, Report& report) {
    for (int kind : {kKindF32, kQ4_0, kQ8_0, kQ4_K})
        for (int rows : {16, 33})
            for (int n : {1, 7, 200})           // 200 pairs: several blocks of an expert's rows
                for (int per_input : {1, 2})
                    report.check(
                        same(experts(level, kind, rows, n, per_input), experts(portable, kind, rows, n, per_input)),
                        std::string(level.level.name) + " experts " + kLayouts[kind].name + " " +
                            std::to_string(rows) + " rows n=" + std::to_string(n));
}

void test_embedding(Context& level, Context& portable, Report& report) {
    auto embed = [](Context& c, int kind) {
        Data data;
        constexpr int rows = 33, cols = 256;
        Bytes panels = packed(c, data, kind, rows, cols);
        std::vector<int64_t> ids{0, rows, 16, -1, rows - 1};
        Floats out(ids.size() * cols);
        EmbeddingArgs a{ids.data(), panels.data(), out.data(), panel_bytes(kind, cols), kind, rows, cols};
        run_emitted(c, [&](Program& program) { emit_embedding(c, a, static_cast<int64_t>(ids.size()), program); });
        return out;
    };
    const std::string name = level.level.name;
    for (int kind : {kKindF32, kKindF16, kKindBF16, kQ4_0, kQ8_0, kQ4_K}) {
        Floats mine = embed(level, kind);
        report.check(same(mine, embed(portable, kind)), name + " embedding " + kLayouts[kind].name);
        for (int i = 0; i < 5; ++i)
            report.check(std::isnan(mine[i * 256]) == (i % 2 == 1), name + " ids that are no rows");
    }
}

// -- rows and elements --

Floats norm(Context& c, int n, int cols, bool residual) {
    Data data;
    const int stride = cols + 3;
    Floats x = data.floats((n - 1) * stride + cols), y = data.floats(x.size()), weight = data.floats(cols);
    Floats out(n * cols);
    NormArgs a{x.data(), weight.data(), residual ? y.data() : nullptr, out.data(), stride, stride, cols, cols, 1e-6f};
    run_emitted(c, [&](Program& program) { emit_items(c, c.level.norm, a, n, 1, program); });
    return out;
}

// y: 0 a row for each, 1 one row for all, 2 a number for each, 3 none
Floats point(Context& c, PointOp op, int n, int cols, int form) {
    Data data;
    const int y_cols = form == 2 ? 1 : cols, y_stride = form == 1 ? 0 : y_cols;
    Floats x = data.floats(n * cols), y = data.floats(form == 1 ? cols : n * y_cols), out(n * cols);
    PointArgs a{x.data(), form == 3 ? nullptr : y.data(), out.data(), cols, y_stride, cols, cols, y_cols, op, 1.7f};
    run_emitted(c, [&](Program& program) { emit_items(c, c.level.point, a, n, 1, program); });
    return out;
}

Floats gather_and_angles(Context& c, int n, int cols) {
    Data data;
    const int stride = cols + 3, half = cols;
    Floats x = data.floats((n - 1) * stride + cols), out(n * cols), cos(n * half), sin(n * half);
    std::vector<int64_t> rows(n), positions(n);
    for (int64_t& r : rows) r = data.below(n);
    for (int64_t& p : positions) p = data.below(200000);
    std::vector<double> inv_freq(half);
    for (int i = 0; i < half; ++i) inv_freq[i] = std::pow(10000.0, -static_cast<double>(i) / half);
    GatherArgs g{x.data(), rows.data(), out.data(), stride, cols};
    AnglesArgs a{positions.data(), inv_freq.data(), cos.data(), sin.data(), half, 1.25f};
    run_emitted(c, [&](Program& program) {
        emit_items(c, c.level.gather, g, n, 1, program);
        emit_items(c, c.level.angles, a, n, 1, program);
    });
    for (int i = 0; i < n * cols; ++i)
        if (out[i] != x[rows[i / cols] * stride + i % cols]) return {};
    out.insert(out.end(), cos.begin(), cos.end());
    out.insert(out.end(), sin.begin(), sin.end());
    return out;
}

Floats route(Context& c, int n, int n_experts, int n_used, bool normalize) {
    Data data;
    constexpr int cols = 17;
    Floats logits = data.floats((n - 1) * (n_experts + 2) + n_experts), weights(n * n_used), out(n * cols);
    for (float& x : logits) x = std::round(x * 2);      // many are equal: the first of them counts
    std::vector<int64_t> experts(weights.size());
    RouteArgs r{logits.data(), nullptr, weights.data(), experts.data(), n_experts + 2, 1.0f, kSoftmax,
                n_experts, n_used, normalize, 1, 1};
    Floats y = data.floats(weights.size() * cols);
    CombineArgs a{y.data(), weights.data(), out.data(), n_used, cols};
    run_emitted(c, [&](Program& program) {
        emit_items(c, c.level.route, r, n, 1, program);
        emit_items(c, c.level.combine, a, n, 1, program);
    });
    out.insert(out.end(), weights.begin(), weights.end());
    for (int64_t e : experts) out.push_back(static_cast<float>(e));
    return out;
}

void test_elements(Context& level, Context& portable, Report& report) {
    const std::string name = level.level.name;
    for (int n : {1, 2, 31})
        for (int cols : {1, 16, 33, 577}) {
            for (bool residual : {false, true})
                report.check(same(norm(level, n, cols, residual), norm(portable, n, cols, residual)), name + " norm");
            for (PointOp op : {kAdd, kMul, kSoftcap, kGatedSilu, kGatedGelu})
                for (int form = 0; form < 4; ++form)
                    report.check(same(point(level, op, n, cols, form), point(portable, op, n, cols, form)),
                                 name + " point " + std::to_string(op) + " form " + std::to_string(form));
            Floats moved = gather_and_angles(level, n, cols);
            report.check(!moved.empty() && same(moved, gather_and_angles(portable, n, cols)), name + " gather, angles");
        }
    for (int n_used : {1, 4, 13})
        for (bool normalize : {false, true})
            report.check(same(route(level, 9, 13, n_used, normalize), route(portable, 9, 13, n_used, normalize)),
                         name + " route");
}

// -- attention over several sequences --

struct Batch {
    KvType type;
    int k_dim, v_dim, n_heads, n_kv_heads, window;
    std::vector<int> contexts;
    bool shared = false;            // the values are the last v_dim elements of the keys
};

int64_t head_bytes(KvType type, int dim) {
    return type == kF32 ? 64 * dim : type == kQ8 ? 17 * dim : type == kQ4 ? 9 * dim : 32 * dim;
}

struct Pages {                      // of the sequences, shuffled; -1 where a sequence has no page
    int n = 0, max_pages = 2;
    std::vector<int32_t> table;
    std::vector<int64_t> slots;     // of all tokens, sequence after sequence
    Pages(Data& data, const std::vector<int>& contexts) {
        for (int length : contexts) {
            n += (length + 15) / 16;
            max_pages = std::max(max_pages, (length + 15) / 16 + 1);
        }
        std::vector<int32_t> order(n);
        for (int i = 0; i < n; ++i) order[i] = i;
        for (int i = n - 1; i > 0; --i) std::swap(order[i], order[data.below(i + 1)]);
        table.assign(contexts.size() * max_pages, -1);
        for (size_t s = 0, next = 0; s < contexts.size(); ++s)
            for (int i = 0; i < contexts[s]; ++i) {
                int32_t& page = table[s * max_pages + i / 16];
                if (i % 16 == 0) page = order[next++];
                slots.push_back(static_cast<int64_t>(page) * 16 + i % 16);
            }
    }
};

// Each sequence's last tokens, news[i] of them, attend to all of it. The last token's heads, sequence by sequence.
Floats attend(Context& c, const Batch& b, const std::vector<int>& news, Floats* everything) {
    Data data;
    Pages pages(data, b.contexts);
    const int stored = b.shared ? 0 : b.v_dim;
    const int n = static_cast<int>(pages.slots.size()), n_seqs = static_cast<int>(news.size()), half = b.k_dim / 4;
    const int q_cols = b.n_heads * b.k_dim, k_cols = b.n_kv_heads * b.k_dim, v_cols = b.n_kv_heads * stored;
    const int row = q_cols + k_cols + v_cols, out_cols = b.n_heads * b.v_dim;
    Floats qkv = data.floats(n * row), cos = data.floats(n * half), sin = data.floats(n * half);
    Floats turned(n * q_cols), q;
    const int64_t k_bytes = b.n_kv_heads * head_bytes(b.type, b.k_dim), v_bytes = b.n_kv_heads * head_bytes(b.type, stored);
    const int64_t page_bytes = k_bytes + v_bytes + 64;      // keys, values, and a gap as of another layer
    Bytes cache(pages.n * page_bytes, 255);                 // NaN where nothing was stored
    RopeStoreArgs r{};
    r.q = qkv.data(), r.k = r.q + q_cols, r.v = r.k + k_cols, r.q_stride = r.k_stride = r.v_stride = row, r.v_head = stored;
    r.cos = cos.data(), r.sin = sin.data(), r.slots = pages.slots.data(), r.q_out = turned.data();
    r.k_cache = cache.data(), r.v_cache = r.k_cache + k_bytes, r.k_page = r.v_page = page_bytes, r.n_heads = b.n_heads, r.n_kv_heads = b.n_kv_heads;
    r.k_dim = b.k_dim, r.v_dim = stored, r.half = half, r.interleaved = b.window > 0, r.kv_type = b.type;
    run_emitted(c, [&](Program& program) {
        emit_items(c, c.level.rope_store, r, static_cast<int64_t>(n) * b.n_kv_heads, 1, program);
    });
    std::vector<int32_t> starts{0};
    for (int s = 0, end = 0; s < n_seqs; ++s) {
        end += b.contexts[s];
        q.insert(q.end(), turned.begin() + (end - news[s]) * q_cols, turned.begin() + end * q_cols);
        starts.push_back(starts.back() + news[s]);
    }
    everything->assign(starts.back() * out_cols, 0.0f);
    AttentionArgs a{};
    a.q = q.data(), a.k_cache = r.k_cache, a.v_cache = r.v_cache, a.seq_starts = starts.data();
    a.k_page = a.v_page = page_bytes;
    a.page_table = pages.table.data(), a.context_lens = b.contexts.data(), a.out = everything->data(), a.scale = 0.2f;
    a.softcap = b.window == 33 ? 5.0f : 0.0f, a.n_seqs = n_seqs, a.max_pages = pages.max_pages, a.n_heads = b.n_heads;
    a.n_kv_heads = b.n_kv_heads, a.k_dim = b.k_dim, a.v_dim = b.v_dim, a.window = b.window, a.kv_type = b.type, a.shared = b.shared;
    run_emitted(c, [&](Program& program) { emit_attention(c, a, starts.back(), program); });
    for (int page = 0; page < pages.n; ++page)
        for (int64_t i = k_bytes + v_bytes; i < page_bytes; ++i)
            if (cache[page * page_bytes + i] != 255) return {};
    Floats last;
    for (int s = 0; s < n_seqs; ++s)
        last.insert(last.end(), everything->end() - (starts.back() - starts[s + 1] + 1) * out_cols,
                    everything->end() - (starts.back() - starts[s + 1]) * out_cols);
    return last;
}

void check_batch(Context& level, Context& portable, const Batch& b, Report& report) {
    const std::string what = std::string(level.level.name) + " attention over sequences, type " + std::to_string(b.type) +
                             " dims " + std::to_string(b.k_dim) + " " + std::to_string(b.v_dim) + " heads " +
                             std::to_string(b.n_heads) + " window " + std::to_string(b.window);
    Floats mine, theirs, one, chunk;
    one = attend(level, b, {1, 1, 1, 1, 1}, &mine);
    attend(portable, b, {1, 1, 1, 1, 1}, &theirs);
    report.check(same(mine, theirs), what + " one token");
    chunk = attend(level, b, {1, 9, 64, 2, 13}, &mine);
    attend(portable, b, {1, 9, 64, 2, 13}, &theirs);
    report.check(same(mine, theirs), what + " chunks");
    report.check(same(one, chunk), what + " however cut");
}

void test_sequences(Context& level, Context& portable, Report& report) {
    const std::vector<int> contexts{1, 15, 64, 513, 1100};
    for (KvType type : {kF32, kF16, kBf16, kQ8, kQ4})
        for (int window : {0, 33, 600}) {
            check_batch(level, portable, {type, 64, 32, 6, 2, window, contexts}, report);
            check_batch(level, portable, {type, 32, 96, 5, 1, window, contexts}, report);
            if (type < kQ8) check_batch(level, portable, {type, 24, 40, 3, 3, window, contexts}, report);
            check_batch(level, portable, {type, 96, 57, 6, 2, window, contexts, true}, report);
            if (!window) check_batch(level, portable, {type, 64, 32, 66, 1, 0, contexts, true}, report);     // in parts
        }
}

}  // namespace

void test_combinations(Context& level, Context& portable, Report& report) {
    test_linear(level, portable, report);
    test_experts(level, portable, report);
    test_embedding(level, portable, report);
    test_elements(level, portable, report);
    test_sequences(level, portable, report);
}

}  // namespace gristmill
