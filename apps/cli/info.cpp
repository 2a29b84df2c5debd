// tessera info: the machine, and for every kernel family which row runs here and why the others do not.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/cli/commands.h"
#include "apps/cli/options.h"
#include "apps/cli/terminal.h"
#include "tessera/device/cpu.h"
#include "tessera/io/json.h"
#include "tessera/ops/kernel_table.h"

namespace tessera::cli {
namespace {

struct Info {
  bool ops = false;
  bool json = false;
  ContextFlags context;

  int run() const {
    const Context ctx(context.options());
    const device::Cpu& cpu = device::cpu();
    std::string usable;
    for (const device::Isa isa : cpu.usable) usable += fmt::format("{}{}", usable.empty() ? "" : ", ", device::name(isa));
    std::string flags;
    for (const std::string& flag : cpu.flags) flags += (flags.empty() ? "" : " ") + flag;
    const std::vector<ops::RowStatus> rows = ops ? ops::kernel_rows(ctx) : std::vector<ops::RowStatus>{};
    if (json) {
      io::Json out;
      out.set("version", TESSERA_VERSION).set("cpu", cpu.model).set("vendor", cpu.vendor).set("family", cpu.family).set("model", cpu.model_number);
      out.set("cores", cpu.cores).set("threads", ctx.threads()).set("l1d", static_cast<std::int64_t>(cpu.l1d));
      out.set("l2", static_cast<std::int64_t>(cpu.l2))
          .set("l3", static_cast<std::int64_t>(cpu.l3))
          .set("usable", usable)
          .set("isa", device::name(ctx.isa()));
      out.set("flags", flags).set("amx_note", cpu.amx_note);
      if (ops) {
        io::Json::Array array;
        for (const ops::RowStatus& r : rows) {
          io::Json row;
          row.set("family", r.family).set("row", r.row).set("serves", r.serves).set("used", r.used).set("reason", r.reason);
          array.push_back(std::move(row));
        }
        out.set("rows", std::move(array));
      }
      fmt::print("{}\n", out.dump());
      return 0;
    }
    Table table({{"machine", Align::left}, {"", Align::left}});
    table.add({"processor", fmt::format("{} ({}, family {}, model {})", cpu.model, cpu.vendor, cpu.family, cpu.model_number)});
    table.add({"cores", fmt::format("{} usable, {} thread{} in this context", cpu.cores, ctx.threads(), ctx.threads() == 1 ? "" : "s")});
    table.add({"caches", fmt::format("L1d {} KiB, L2 {} KiB, L3 {} KiB", cpu.l1d >> 10, cpu.l2 >> 10, cpu.l3 >> 10)});
    table.add({"features", flags.empty() ? "none that a kernel asks for" : flags});
    table.add({"levels", usable});
    table.add({"used", fmt::format("up to {}", device::name(ctx.isa()))});
    if (!cpu.amx_note.empty()) table.add({"amx", cpu.amx_note});
    fmt::print("tessera {}\n{}", TESSERA_VERSION, table.str());
    if (ops) {
      Table kernels({{"family", Align::left}, {"row", Align::left}, {"used", Align::left}, {"serves", Align::left}, {"why not", Align::left}});
      std::string last;
      for (const ops::RowStatus& r : rows) {
        if (!last.empty() && r.family != last) kernels.rule();
        kernels.add({r.family == last ? "" : r.family, r.row, r.used ? "yes" : "", r.serves, r.used ? "" : r.reason});
        last = r.family;
      }
      fmt::print("\n{}", kernels.str());
    }
    return 0;
  }
};

}  // namespace

void add_info(CLI::App& app, Command& chosen) {
  auto info = std::make_shared<Info>();
  CLI::App* command = app.add_subcommand("info", "The machine, and which kernel runs for every op and why");
  command->add_flag("--ops", info->ops, "Every kernel family's rows, and why each is or is not used");
  command->add_flag("--json", info->json, "Print JSON");
  info->context.add(*command);
  command->footer("Examples:\n  tessera info\n  tessera info --ops\n  TESSERA_ISA=scalar tessera info --ops");
  command->callback([info, &chosen] { chosen = [info] { return info->run(); }; });
}

}  // namespace tessera::cli
