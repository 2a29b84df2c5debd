// The policy door: pictures, a state and a sentence in, a chunk of actions out.
#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "python/src/bind.h"
#include "tessera/core/error.h"
#include "tessera/io/image.h"
#include "tessera/models/parity/parity.h"
#include "tessera/models/policy/policy.h"

namespace nb = nanobind;

namespace tessera::python {
namespace {

std::optional<models::Precision> precision_of(const std::optional<std::string>& word) {
  if (!word) return std::nullopt;
  for (const auto p : {models::Precision::f32, models::Precision::bf16, models::Precision::int8})
    if (models::name(p) == *word) return p;
  fail_expected("Policy", "precision f32, bf16 or int8", "'" + *word + "'");
}

/// Ctrl-C between the stages of a chunk. Signals are the main thread's; in others this looks at nothing.
void look_at_signals() {
  const nb::gil_scoped_acquire held;
  if (PyErr_CheckSignals() != 0) throw nb::python_error();
}

models::PolicyOptions options_of(const std::optional<std::string>& precision, const std::string& robot, const std::string& tokenizer,
                                 const std::string& norm_stats, bool allow_nonfinite, bool any_prompt, bool padded_state_prompt, bool legacy_resize,
                                 bool skip_checksums) {
  models::PolicyOptions o;
  o.precision = precision_of(precision), o.robot = robot, o.tokenizer = tokenizer, o.norm_stats = norm_stats;
  o.allow_nonfinite = allow_nonfinite, o.any_prompt = any_prompt, o.padded_state_prompt = padded_state_prompt;
  o.legacy_resize = legacy_resize, o.skip_checksums = skip_checksums;
  o.progress = [](std::string_view, double) { look_at_signals(); };
  return o;
}

struct PolicyDoor {
  std::optional<models::Policy> policy;
  models::PolicyOptions options;
};

PolicyDoor* load(const std::string& path, const models::PolicyOptions& options) {
  auto door = std::make_unique<PolicyDoor>();
  door->options = options;
  run([&](Context& ctx) { door->policy = models::Policy::load(ctx, path, options); });
  return door.release();
}

nb::dict act(PolicyDoor& door, const std::map<std::string, Tensor>& images, const std::vector<double>& state, const std::string& prompt, int steps,
             std::uint64_t seed, const std::optional<Tensor>& noise, bool reuse_prefix) {
  models::Observation observation;
  observation.images = images, observation.state = state, observation.prompt = prompt;
  models::ActOptions options;
  options.steps = steps, options.seed = seed, options.noise = noise.value_or(Tensor()), options.reuse_prefix = reuse_prefix;
  const models::ActionChunk chunk =
      run([&](Context& ctx) { return door.policy->act(ctx, observation, options, [](std::string_view, const Tensor&) { look_at_signals(); }); });
  nb::dict times;
  times["preprocess"] = chunk.times.preprocess, times["images"] = chunk.times.images, times["prefix"] = chunk.times.prefix;
  times["steps"] = chunk.times.steps, times["total"] = chunk.times.total;
  nb::dict d;
  d["actions"] = chunk.actions, d["chunk"] = chunk.chunk, d["dim"] = chunk.dim, d["names"] = chunk.names, d["steps"] = chunk.steps;
  d["normalised"] = chunk.normalised, d["model"] = chunk.model, d["milliseconds"] = times;
  return d;
}

nb::list cameras_of(const std::vector<models::CameraSlot>& slots) {
  nb::list cameras;
  for (const auto& slot : slots) {
    nb::dict d;
    d["name"] = slot.name, d["aliases"] = slot.aliases, d["required"] = slot.required, d["always_absent"] = slot.always_absent;
    cameras.append(d);
  }
  return cameras;
}

nb::dict inspect(const std::string& path, const models::PolicyOptions& options) {
  const models::CheckpointReport r = run([&](Context&) { return models::inspect_checkpoint(path, options); });
  nb::dict d;
  d["path"] = r.path, d["format"] = r.format, d["names_variant"] = r.names_variant, d["config_source"] = r.config_source;
  d["family"] = r.config.pi05 ? "pi05" : "pi0";
  d["chunk"] = r.config.chunk, d["num_steps"] = r.config.num_steps, d["max_prompt_tokens"] = r.config.max_prompt_tokens;
  d["parameters"] = r.parameters, d["hot_parameters"] = r.hot_parameters, d["stored_dtypes"] = r.stored_dtypes, d["memory"] = r.memory;
  d["missing"] = r.missing, d["misshapen"] = r.misshapen, d["unused"] = r.unused;
  d["cameras"] = cameras_of(r.cameras);
  d["state_norm"] = r.state_norm, d["action_norm"] = r.action_norm, d["state_dim"] = r.state_dim, d["action_dim"] = r.action_dim;
  d["robot"] = r.robot, d["tokenizer"] = r.tokenizer, d["notes"] = r.notes, d["errors"] = r.errors;
  if (r.int8_exceptions) {
    nb::dict exceptions;
    for (const auto& e : *r.int8_exceptions) exceptions[nb::cast(e.name)] = e.error;
    d["int8_exceptions"] = exceptions;
  }
  return d;
}

nb::dict verify(const std::string& path, const std::string& recording, const models::PolicyOptions& options) {
  const models::ParityReport report = run([&](Context& ctx) { return models::verify(ctx, path, recording, options); });
  nb::list rows;
  for (const auto& r : report.rows) {
    nb::dict d;
    d["recording"] = r.recording, d["stage"] = r.stage, d["max_abs"] = r.max_abs, d["max_rel"] = r.max_rel, d["rms"] = r.rms, d["pcc"] = r.pcc;
    d["limit"] = r.limit, d["pcc_limit"] = r.pcc_limit, d["judged"] = r.judged, d["pass"] = r.pass;
    rows.append(d);
  }
  nb::dict d;
  d["pass"] = report.pass, d["summary"] = report.summary, d["rows"] = rows;
  return d;
}

}  // namespace

void bind_policy(nb::module_& m) {
  nb::class_<models::PolicyOptions>(m, "PolicyOptions")
      .def(
          "__init__",
          [](models::PolicyOptions* self, const std::optional<std::string>& precision, const std::string& robot, const std::string& tokenizer,
             const std::string& norm_stats, bool allow_nonfinite, bool any_prompt, bool padded_state_prompt, bool legacy_resize,
             bool skip_checksums) {
            new (self) models::PolicyOptions(
                options_of(precision, robot, tokenizer, norm_stats, allow_nonfinite, any_prompt, padded_state_prompt, legacy_resize, skip_checksums));
          },
          nb::arg("precision").none(), nb::arg("robot"), nb::arg("tokenizer"), nb::arg("norm_stats"), nb::arg("allow_nonfinite"),
          nb::arg("any_prompt"), nb::arg("padded_state_prompt"), nb::arg("legacy_resize"), nb::arg("skip_checksums"));
  nb::class_<PolicyDoor>(m, "PolicyDoor")
      .def_static("load", &load, nb::arg("path"), nb::arg("options"), nb::rv_policy::take_ownership)
      .def("act", &act, nb::arg("images"), nb::arg("state"), nb::arg("prompt"), nb::arg("steps"), nb::arg("seed"), nb::arg("noise").none(),
           nb::arg("reuse_prefix"))
      .def_prop_ro("cameras", [](const PolicyDoor& d) { return cameras_of(d.policy->cameras()); })
      .def_prop_ro("state_dim", [](const PolicyDoor& d) { return d.policy->state_dim(); })
      .def_prop_ro("action_dim", [](const PolicyDoor& d) { return d.policy->action_dim(); })
      .def_prop_ro("chunk", [](const PolicyDoor& d) { return d.policy->model().config().chunk; })
      .def_prop_ro("model_action_dim", [](const PolicyDoor& d) { return d.policy->model().config().action_dim; })
      .def_prop_ro("precision", [](const PolicyDoor& d) { return std::string(models::name(d.policy->model().precision())); })
      .def_prop_ro("warnings", [](const PolicyDoor& d) { return d.policy->warnings(); });
  m.def("inspect", &inspect, nb::arg("path"), nb::arg("options"));
  m.def("verify", &verify, nb::arg("path"), nb::arg("recording"), nb::arg("options"));
  m.def("robot_presets", &models::robot_presets);
  m.def(
      "read_image",
      [](const std::string& path) {
        const nb::gil_scoped_release released;
        return io::read_image(path);
      },
      nb::arg("path"), "uint8 [height, width, 3] of a PNG or JPEG file.");
}

}  // namespace tessera::python
