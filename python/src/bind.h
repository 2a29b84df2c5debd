// What the sources of the extension module share: one context for the process, and calls that leave the interpreter free.
// Test: tests/python.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <mutex>
#include <utility>

#include "tessera/runtime/context.h"

namespace tessera::python {

/// The context of the process: threads, workspace and profiler. It serves one caller at a time.
struct Engine {
  std::mutex mutex;
  std::unique_ptr<Context> context;  // made by the first call
  ContextOptions options;
};
Engine& engine();

/// f(Context&) without the interpreter's lock, after the other callers.
template <class F>
auto run(F&& f) {
  const nanobind::gil_scoped_release released;
  Engine& e = engine();
  const std::lock_guard lock(e.mutex);
  if (e.context == nullptr) e.context = std::make_unique<Context>(e.options);
  return std::forward<F>(f)(*e.context);
}

void bind_engine(nanobind::module_& m);
void bind_tensor(nanobind::module_& m);
void bind_elementwise(nanobind::module_& m);
void bind_reorder(nanobind::module_& m);
void bind_matmul(nanobind::module_& m);
void bind_transformer(nanobind::module_& m);
void bind_vision(nanobind::module_& m);
void bind_policy(nanobind::module_& m);

}  // namespace tessera::python
