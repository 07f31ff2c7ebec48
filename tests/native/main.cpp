// Every level that this processor runs against the portable one, bit for bit. scripts/test-native builds and runs it.
#include "check.h"

namespace gristmill {

namespace {

// Grids with arbitrary entries of each format's levels.
bool fill_tables() {
    const uint32_t sizes[kNumTables] = {2048 * 2, 256 * 2, 512 * 2, 1024 * 2, 256, 512};
    const std::vector<uint32_t> levels[kNumTables] = {
        {1, 9, 17}, {8, 25, 43}, {8, 25, 43}, {8, 25, 43}, {4, 12, 20, 28, 36, 44, 52, 62}, {1, 3, 5, 7, 9, 11, 13, 15}};
    Data data;
    bool ok = true;
    for (int i = 0; i < kNumTables; ++i) {
        std::vector<uint32_t> words(sizes[i]);
        const auto n = static_cast<uint32_t>(levels[i].size());
        for (uint32_t& word : words)
            for (int j = 0; j < 4; ++j) word |= levels[i][data.below(n)] << 8 * j;
        ok &= set_table(static_cast<Table>(i), words.data(), words.size() * 4);
    }
    return ok;
}

}  // namespace
}  // namespace gristmill

int main() {
    using namespace gristmill;
    Report report;
    report.check(fill_tables(), "tables of the formats' levels");
    Context portable(level_portable, 1);
    for (const Level* level : usable_levels()) {
        Context context(*level, 3);
        std::printf("%s\n", level->name);
        std::fflush(stdout);
        test_rows(context, portable, report);
        test_states(context, portable, report);
        test_heads(context, portable, report);
        test_attention(context, portable, report);
        test_products(context, portable, report);
        test_combinations(context, portable, report);
        test_encoders(context, portable, report);
    }
    std::printf("%d passed, %d failed\n", report.passed, report.failed);
    return report.failed ? 1 : 0;
}
