// What a checkpoint is, without packing its weights.
#include "tessera/core/error.h"
#include "tessera/models/policy/spec.h"

namespace tessera::models {

CheckpointReport inspect_checkpoint(const std::filesystem::path& path, const PolicyOptions& options) {
  const OpenCheckpoint checkpoint = open_checkpoint(path, options);
  const CheckpointSource& source = *checkpoint.source;
  const Catalogue& catalogue = source.catalogue();
  CheckpointReport r;
  r.path = path.string();
  r.format = checkpoint.config.lerobot ? "LeRobot" : "openpi";
  r.names_variant = source.traits().str();
  r.config = checkpoint.config.model;
  r.config_source = checkpoint.config.source;
  r.parameters = catalogue.parameters;
  r.stored_dtypes = catalogue.stored_types;
  r.notes = catalogue.notes;
  if (checkpoint.packed) r.packed = checkpoint.packed->contents();

  WeightReader reader(source);
  for (const TensorSpec& spec : required_tensors(r.config)) {
    reader.need(spec.name, spec.shape);
    if (spec.name != kEmbedTokens) r.hot_parameters += spec.shape.numel();
  }
  for (const std::string& name : unread_tensors(r.config)) reader.ignore(name);
  r.missing = reader.missing();
  r.misshapen = reader.misshapen();
  r.unused = reader.unused();
  r.unused.insert(r.unused.end(), catalogue.foreign.begin(), catalogue.foreign.end());
  r.memory["f32"] = static_cast<std::size_t>(r.hot_parameters) * 4;
  r.memory["bf16"] = static_cast<std::size_t>(r.hot_parameters) * 2;
  r.memory["int8"] = static_cast<std::size_t>(r.hot_parameters);
  if (checkpoint.packed) {
    if (checkpoint.packed->contents().precision == Precision::int8) r.int8_exceptions = checkpoint.packed->int8_exceptions();
  } else if (options.precision == Precision::int8 && r.misshapen.empty()) {
    Context ctx{ContextOptions{}};
    r.int8_exceptions = int8_exceptions(ctx, source, r.config);
  }

  if (checkpoint.packed) try {
      checkpoint.packed->check_options(options);
      Context ctx{ContextOptions{}};
      checkpoint.packed->check_rows(ctx);
      if (!options.skip_checksums) checkpoint.packed->check_sums(ctx, options.progress);
    } catch (const Error& e) {
      r.errors.emplace_back(e.what());
    }
  try {
    const PolicySpec spec = read_spec(checkpoint);
    r.config = spec.model;
    r.cameras = spec.cameras;
    r.state_norm = spec.state.str();
    r.action_norm = spec.action.str();
    r.state_dim = spec.robot_state_dim;
    r.action_dim = spec.robot_action_dim;
    r.robot = spec.robot_name;
    r.notes.insert(r.notes.end(), spec.notes.begin(), spec.notes.end());
    r.notes.insert(r.notes.end(), spec.warnings.begin(), spec.warnings.end());
  } catch (const Error& e) {
    r.errors.emplace_back(e.what());
  }
  try {
    r.tokenizer = open_tokenizer(checkpoint)->describe();
  } catch (const Error& e) {
    r.tokenizer = e.what();  // a folder is whole without one: it is no part of openpi's or LeRobot's checkpoints
  }
  return r;
}

}  // namespace tessera::models
