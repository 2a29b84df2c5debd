// The subcommands of `tessera`. Each adds itself to the program and, when chosen, runs and answers with the exit status.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>

namespace CLI {
class App;
}

namespace tessera::cli {

/// What the user asked for cannot be asked: exit status 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

using Command = std::function<int()>;

/// Each registers one subcommand and sets `chosen` when it was given on the command line.
void add_act(CLI::App& app, Command& chosen);
void add_inspect(CLI::App& app, Command& chosen);
void add_classify(CLI::App& app, Command& chosen);
void add_verify(CLI::App& app, Command& chosen);
void add_accuracy(CLI::App& app, Command& chosen);
void add_pack(CLI::App& app, Command& chosen);
void add_bench(CLI::App& app, Command& chosen);
void add_plan(CLI::App& app, Command& chosen);
void add_sweep(CLI::App& app, Command& chosen);
void add_info(CLI::App& app, Command& chosen);

}  // namespace tessera::cli
