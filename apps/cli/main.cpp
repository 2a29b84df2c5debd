// The command line door: parses, calls one command, turns every failure into one line and an exit status (0 done, 1 failed, 2 wrong use).
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>

#include "apps/cli/commands.h"
#include "apps/cli/terminal.h"

namespace {

int say(const char* message, int status) {
  fmt::print(stderr, "tessera: {}\n", message);
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace tessera::cli;
  try {
    CLI::App app{
        "Tessera: robot policies (pi0, pi0.5) and vision models on plain CPUs. Camera pictures, a state and a sentence in; robot actions out.",
        "tessera"};
    app.set_version_flag("--version", TESSERA_VERSION);
    app.require_subcommand(1);
    app.failure_message(CLI::FailureMessage::simple);
    app.footer(
        "Examples:\n"
        "  tessera info --ops\n"
        "  tessera inspect CHECKPOINT\n"
        "  tessera act CHECKPOINT --image scene=scene.png --image wrist=wrist.jpg --state \"0.1,0.4,0.2,1\" --prompt \"open the faucet\"\n"
        "  tessera verify CHECKPOINT RECORDING.safetensors\n"
        "  tessera accuracy CHECKPOINT RECORDING.safetensors --precision bf16,int8\n"
        "  tessera pack CHECKPOINT policy.tessera --precision bf16\n"
        "  tessera plan adaptive_max_pool2d --input 64x64 --output 5x22\n"
        "  tessera sweep all --suite short\n"
        "  tessera classify efficientnet_lite0/ --image cat.png\n"
        "  tessera bench pi0 --cameras 2 --precision bf16\n"
        "\nEnvironment: TESSERA_ISA lowers the instruction set (scalar, avx2, avx512, ...), TESSERA_THREADS sets the threads.\n"
        "Exit status: 0 done, 1 failed, 2 wrong use.");
    Command chosen;
    add_act(app, chosen);
    add_inspect(app, chosen);
    add_classify(app, chosen);
    add_verify(app, chosen);
    add_accuracy(app, chosen);
    add_pack(app, chosen);
    add_bench(app, chosen);
    add_plan(app, chosen);
    add_sweep(app, chosen);
    add_info(app, chosen);
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
      const bool stray =
          argc > 1 && argv[1][0] != '-' && app.get_subcommands([&](const CLI::App* command) { return command->get_name() == argv[1]; }).empty();
      if (stray) return say(fmt::format("expected a command that tessera --help lists, got '{}'", argv[1]).c_str(), 2);
      const int status = app.exit(e);
      if (status == 0 && std::fflush(stdout) != 0) return say("writing to standard output failed", 1);
      return status == 0 ? 0 : 2;
    }
    const int status = chosen();
    if (std::fflush(stdout) != 0) return say("writing to standard output failed", 1);
    return status;
  } catch (const UsageError& e) {
    return say(e.what(), 2);
  } catch (const std::bad_alloc&) {
    return say("out of memory", 1);
  } catch (const std::exception& e) {
    return say(e.what(), 1);
  }
}
