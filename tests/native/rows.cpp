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
    RouteArgs r{logits.data(), weights.data(), experts.data(), n_experts, n_experts, n_used, 1};
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
    Floats logits = data.floats(33 * 13);
    report.check(same(routed(level, logits, 33, 13, 4), routed(portable, logits, 33, 13, 4)), "route and combine");
}

}  // namespace gristmill
