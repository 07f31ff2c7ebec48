// Heads side by side, and each with a matrix of its own: heads that lie apart, one for all, none.
#include "check.h"
#include "pack.h"

namespace gristmill {

namespace {

Floats joined(Context& c, int n, int heads, int x_cols, int y_cols, bool one) {
    Data data;
    const int x_row = (one ? 1 : heads) * (x_cols + 3), y_row = heads * (y_cols + 2);
    Floats x = data.floats(n * x_row), y = data.floats(n * y_row), out(n * heads * (x_cols + y_cols));
    ConcatArgs a{x.data() + 3, y.data() + 2, out.data(), x_row, one ? 0 : x_cols + 3, y_row, y_cols + 2, heads, x_cols, y_cols};
    Program program;
    emit_items(c, c.level.concat, a, static_cast<int64_t>(n) * heads, 4, program);
    run(c, program);
    return out;
}

Floats multiplied(Context& c, int n, int heads, int rows) {
    constexpr int cols = 37, apart = 50;
    Data data;
    const int64_t panel = panel_bytes(kKindF32, cols), matrix = panel * ((rows + 15) / 16);
    Floats values = data.floats(heads * rows * cols), x = data.floats(n * heads * apart), out(n * heads * rows);
    Bytes panels(heads * matrix);
    for (int head = 0; head < heads; ++head) {
        PackArgs p{};
        p.blocks = reinterpret_cast<const uint8_t*>(values.data() + head * rows * cols), p.panels = panels.data() + head * matrix;
        p.row_bytes = 4 * cols, p.panel_bytes = panel, p.kind = kKindF32, p.rows = rows, p.cols = cols;
        Program program;
        emit_pack(c, p, program);
        run(c, program);
    }
    ExpertArgs a{};
    a.x = x.data(), a.out = out.data(), a.data = panels.data(), a.expert_bytes = matrix, a.panel_bytes = panel;
    a.kind = kKindF32, a.rows = rows, a.cols = cols, a.n = n * heads, a.n_experts = a.slots = heads;
    a.x_stride = heads * apart, a.slot_stride = apart;
    Program program;
    emit_experts(c, a, program);
    run(c, program);
    return out;
}

}  // namespace

void test_heads(Context& level, Context& portable, Report& report) {
    const std::string name = level.level.name;
    for (int n : {1, 3, 33})
        for (int heads : {1, 5}) {
            for (int x_cols : {0, 8, 33})
                for (bool one : {false, true})
                    report.check(same(joined(level, n, heads, x_cols, 17, one), joined(portable, n, heads, x_cols, 17, one)),
                                 name + " concat");
            for (int rows : {12, 16, 40})
                report.check(same(multiplied(level, n, heads, rows), multiplied(portable, n, heads, rows)), name + " head matrices");
        }
}

}  // namespace gristmill
