// The process's context, its threads, its profile and its ceilings.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>

#include "python/src/bind.h"
#include "tessera/core/error.h"
#include "tessera/device/cpu.h"
#include "tessera/runtime/ceilings.h"

namespace nb = nanobind;

namespace tessera::python {

Engine& engine() {
  static Engine the_engine;
  return the_engine;
}

void bind_engine(nb::module_& m) {
  m.def(
      "set_num_threads",
      [](int threads) {
        if (threads < 0 || threads > 1024) fail_expected("set_num_threads", "0 (one a core) to 1024", std::to_string(threads));
        const nb::gil_scoped_release released;
        const std::lock_guard lock(engine().mutex);
        engine().options.threads = threads;
        engine().context.reset();
      },
      nb::arg("threads"), "Threads that ops run on from now on; 0: one a core. Results do not depend on it.");
  m.def(
      "num_threads", [] { return run([](Context& ctx) { return ctx.threads(); }); }, "Threads that ops run on.");
  m.def(
      "isa", [] { return std::string(run([](Context& ctx) { return device::name(ctx.isa()); })); },
      "Name of the best instruction set that ops use here.");
  m.def(
      "profile_start", [] { run([](Context& ctx) { ctx.profiler().start(); }); }, "Begins a new record of what every op does.");
  m.def(
      "profile_stop", [] { run([](Context& ctx) { ctx.profiler().stop(); }); }, "Ends the record.");
  m.def(
      "profile_table",
      [](bool ceilings) {
        return run([&](Context& ctx) { return ctx.profiler().table(ceilings ? runtime::measure_ceilings(ctx, 1).all : runtime::Ceilings{}); });
      },
      nb::arg("ceilings"), "The record as a table; with `ceilings` the machine's limits are measured first (about two seconds).");
  m.def(
      "profile_zones",
      [] {
        nb::list rows;
        std::vector<runtime::ZoneRecord> records = run([](Context& ctx) { return ctx.profiler().records(); });
        for (const auto& r : records)
          rows.append(nb::make_tuple(r.op, r.path, static_cast<double>(r.end_ns - r.start_ns) * 1e-9, r.flops, r.bytes, r.depth));
        return rows;
      },
      "The record: (op, path, seconds, flops, bytes, depth) of every zone.");
}

}  // namespace tessera::python
