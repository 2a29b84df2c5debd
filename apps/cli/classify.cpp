// tessera classify: what a picture shows, by a network that was trained on labelled pictures.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <memory>

#include "apps/cli/commands.h"
#include "apps/cli/options.h"
#include "apps/cli/terminal.h"
#include "apps/cli/values.h"
#include "tessera/io/file.h"
#include "tessera/io/json.h"
#include "tessera/models/vision/classifier.h"
#include "tessera/runtime/ceilings.h"

namespace tessera::cli {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

struct Times {  // milliseconds of the last run
  double preprocess = 0;
  double network = 0;
};

struct Classify {
  std::string model;
  std::string image;
  std::string labels;
  std::string precision = "f32";
  std::string profile;
  std::int64_t top = 5;
  int repeat = 1;
  bool exif = false;
  bool json = false;
  ContextFlags context;

  int run() const;
};

io::Json answer_json(const Classify& ask, const models::Classifier& model, const std::vector<models::Prediction>& predictions, const Times& times) {
  io::Json::Array top;
  for (const models::Prediction& p : predictions) {
    io::Json one;
    one.set("class", p.index).set("label", p.label.empty() ? io::Json() : io::Json(p.label)).set("probability", p.probability);
    top.push_back(std::move(one));
  }
  io::Json milliseconds;
  milliseconds.set("preprocess", times.preprocess).set("network", times.network);
  io::Json json;
  json.set("image", ask.image)
      .set("architecture", models::name(model.config().architecture))
      .set("precision", models::name(model.precision()))
      .set("top", std::move(top))
      .set("milliseconds", std::move(milliseconds));
  return json;
}

int Classify::run() const {
  const Tensor picture = read_picture(image, exif);
  Context ctx(context.options());
  const models::Classifier classifier = models::Classifier::load(ctx, model, {.precision = *parse_precision(precision), .labels = labels});

  const std::int64_t size = classifier.config().image_size;
  Tensor x = Tensor::empty({size, size, 3}, DType::f32);
  Tensor logits = Tensor::empty({1, classifier.classes()}, DType::f32);
  Times times;
  for (int i = 0; i < repeat; ++i) {
    if (!profile.empty() && i + 1 == repeat) ctx.profiler().start();
    const auto start = Clock::now();
    classifier.preprocess(ctx, picture, x);
    times.preprocess = milliseconds_since(start);
    const auto middle = Clock::now();
    classifier.logits(ctx, x.reshape({1, size, size, 3}), logits);
    times.network = milliseconds_since(middle);
  }
  ctx.profiler().stop();
  const std::vector<models::Prediction> predictions = classifier.top(logits.span<float>(), top);

  if (json) {
    fmt::print("{}\n", answer_json(*this, classifier, predictions, times).dump());
  } else {
    Table table({{"class", Align::right}, {"label", Align::left}, {"probability", Align::right}});
    for (const models::Prediction& p : predictions) table.add({std::to_string(p.index), p.label, fmt::format("{:.4f}", p.probability)});
    fmt::print("{}\n{}, {} precision, {} thread{}: preprocess {:.1f} ms, network {:.1f} ms\n", table.str(),
               models::name(classifier.config().architecture), models::name(classifier.precision()), ctx.threads(), ctx.threads() == 1 ? "" : "s",
               times.preprocess, times.network);
  }
  if (!profile.empty()) {
    io::write_file(profile, ctx.profiler().trace_json());
    if (!json)
      fmt::print("\n{}wrote {} (open it in a Chrome or Perfetto trace viewer)\n", ctx.profiler().table(runtime::measure_ceilings(ctx, 2).all),
                 profile);
  }
  return 0;
}

}  // namespace

void add_classify(CLI::App& app, Command& chosen) {
  auto classify = std::make_shared<Classify>();
  CLI::App* command = app.add_subcommand("classify", "What a picture shows: the most probable classes of MobileNetV2 or EfficientNet-Lite0");
  command->add_option("model", classify->model, "Folder with model.safetensors and config.json, or one .safetensors file")->required();
  command->add_option("--image", classify->image, "PNG, JPEG, .npy or .safetensors:TENSOR (uint8 [height, width, 3])")->required();
  command->add_option("--top", classify->top, "How many classes to print (default 5)")->check(CLI::Range(1, 1000000));
  command->add_option("--precision", classify->precision, "f32 (default) or bf16")->check(CLI::IsMember({"f32", "bf16"}));
  command->add_option("--labels", classify->labels, "Labels, one a line in the order of the classes (default: what config.json names)");
  command->add_option("--repeat", classify->repeat, "Run so many times, report the last (the first run sizes the workspace)")
      ->check(CLI::Range(1, 100000));
  command->add_flag("--exif", classify->exif, "Turn JPEGs as their EXIF orientation says");
  command->add_flag("--json", classify->json, "Print JSON");
  command->add_option("--profile", classify->profile, "Write a Chrome/Perfetto trace (.json) and print the profile table");
  classify->context.add(*command);
  command->footer(
      "Examples:\n"
      "  tessera classify efficientnet_lite0/ --image cat.png\n"
      "  tessera classify mobilenet_v2.safetensors --image cup.jpg --labels imagenet.txt --precision bf16 --json");
  command->callback([classify, &chosen] { chosen = [classify] { return classify->run(); }; });
}

}  // namespace tessera::cli
