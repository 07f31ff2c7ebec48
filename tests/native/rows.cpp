// Operators on rows and elements, routing, top-k.
#include "check.h"

namespace gristmill {

namespace {

Floats norm(Context& c, const Floats& x, const Floats& weight, int n, int cols) {
    Floats out(x.size());
    NormArgs a{x.data(), weight.data(), x.data(), out.data(), cols, cols, cols, cols, 1e-6f};
    Program program;
    emit_items(c, c.level.norm, a, n, 1, program);
    run(c, program);
    return out;
}

Floats layer_norm(Context& c, const Floats& x, const Floats& weight, int n, int cols) {
    Floats out(x.size());
    LayerNormArgs a{x.data(), weight.data(), x.data(), out.data(), cols, cols, cols, 1e-6f};
    Program program;
    emit_items(c, c.level.layer_norm, a, n, 1, program);
    run(c, program);
    return out;
}

Floats point(Context& c, const Floats& x, const Floats& y, int n, int cols, int op) {
    Floats out(x.size());
    PointArgs a{x.data(), op == kSoftcap ? nullptr : y.data(), out.data(), cols, cols, cols, cols, cols, static_cast<PointOp>(op), 3.0f};
    Program program;
    emit_items(c, c.level.point, a, n, 1, program);
    run(c, program);
    return out;
}

Floats routed(Context& c, const Floats& logits, int n, int n_experts, int n_used) {
    Floats weights(static_cast<size_t>(n) * n_used), out(n);
    std::vector<int64_t> experts(weights.size());
    RouteArgs r{logits.data(), nullptr, weights.data(), experts.data(), n_experts, 1.0f, kSoftmax,
                n_experts, n_used, 1, 1, 1};
    Floats y(weights.size(), 2.0f);
    CombineArgs a{y.data(), weights.data(), out.data(), n_used, 1};
    Program program;
    emit_items(c, c.level.route, r, n, 1, program);
    emit_items(c, c.level.combine, a, n, 1, program);
    run(c, program);
    for (int64_t e : experts) out.push_back(static_cast<float>(e));
    return out;
}

Floats highest(Context& c, const Floats& x, int k, const std::vector<uint32_t>* bits = nullptr) {
    Floats values(k);
    std::vector<int64_t> ids(k);
    TopKArgs a{x.data(), bits ? bits->data() : nullptr, values.data(), ids.data(), static_cast<int32_t>(x.size()), k};
    Program program;
    emit_items(c, c.level.top_k, a, 1, 1, program);
    run(c, program);
    for (int64_t id : ids) values.push_back(static_cast<float>(id));
    return values;
}

Floats allowed(Context& c, const Floats& x, const std::vector<uint32_t>& bits) {
    Floats out(x.size());
    MaskedArgs a{x.data(), bits.data(), out.data(), static_cast<int32_t>(x.size())};
    Program program;
    emit_items(c, c.level.masked, a, 1, 1, program);
    run(c, program);
    return out;
}

// Rows with adapters 0 (halves), none, 1 and 1 again, over two targets.
Floats adapted(Context& c, const Floats& x, const Floats& weights, int n, int cols, int rows) {
    const int64_t rank = 8, in = (cols + 15) / 16 * 16, out = (rows + 31) / 32 * 32;
    std::vector<uint16_t> halves(static_cast<size_t>(rank * (in + out)));
    for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(0x3000 + 37 * i % 0x0800);    // 1/8 to 1/2
    auto bytes = [](const auto* p) { return reinterpret_cast<const uint8_t*>(p); };
    const LowRank adapters[2] = {{bytes(halves.data()), bytes(halves.data() + rank * in), rank, 1},
                                 {bytes(weights.data()), bytes(weights.data() + rank * in), rank, 0}};
    std::vector<int32_t> ids;
    for (int i = 0; i < n; ++i) ids.push_back(i % 4 == 0 ? 0 : i % 4 == 1 ? -1 : 1);
    Floats y(static_cast<size_t>(n) * rows * 2, 1.0f), inner(static_cast<size_t>(n) * 2 * rank);
    LoraArgs a{x.data(), weights.data(), nullptr, nullptr, ids.data(), inner.data(), cols, 1e-6f, n, cols, 1, 1, 2, 8, 0, {}};
    a.targets[0] = {adapters, y.data(), rows, rows};
    a.targets[1] = {adapters, y.data() + static_cast<size_t>(n) * rows, rows, rows};
    Program program;
    emit_lora(c, a, program);
    run(c, program);
    return y;
}

}  // namespace

void test_rows(Context& level, Context& portable, Report& report) {
    Data data;
    for (int n : {1, 31, 33})
        for (int cols : {1, 15, 16, 17, 577}) {
            Floats x = data.floats(static_cast<size_t>(n) * cols), y = data.floats(x.size()), weight = data.floats(cols);
            std::string what = std::string(level.level.name) + " rows " + std::to_string(n) + "x" + std::to_string(cols);
            report.check(same(norm(level, x, weight, n, cols), norm(portable, x, weight, n, cols)), what + " norm");
            report.check(same(layer_norm(level, x, weight, n, cols), layer_norm(portable, x, weight, n, cols)), what + " layer norm");
            for (int op = kAdd; op <= kGatedGeluErf; ++op)
                report.check(same(point(level, x, y, n, cols, op), point(portable, x, y, n, cols, op)), what + " op " + std::to_string(op));
            report.check(same(highest(level, x, (n * cols + 1) / 2), highest(portable, x, (n * cols + 1) / 2)), what + " top-k");
            std::vector<uint32_t> bits((x.size() + 31) / 32);
            for (size_t i = 0; i < bits.size(); ++i) bits[i] = i % 3 == 0 ? 0xa5c3u << i % 7 : i % 3 == 1 ? 0 : 0xffffffffu;
            Floats masked = allowed(portable, x, bits), best = highest(portable, masked, (n * cols + 1) / 2);
            report.check(same(allowed(level, x, bits), masked), what + " masked");
            report.check(same(highest(level, x, (n * cols + 1) / 2, &bits), best), what + " top-k of a mask");
        }
    for (int n : {1, 4, 33})
        for (int cols : {15, 64, 577}) {
            Floats x = data.floats(static_cast<size_t>(n) * cols), weights = data.floats(8 * 1200);
            std::string what = std::string(level.level.name) + " adapters " + std::to_string(n) + "x" + std::to_string(cols);
            report.check(same(adapted(level, x, weights, n, cols, 70), adapted(portable, x, weights, n, cols, 70)), what);
        }
    Floats logits = data.floats(33 * 13);
    report.check(same(routed(level, logits, 33, 13, 4), routed(portable, logits, 33, 13, 4)), "route and combine");
}

}  // namespace gristmill
