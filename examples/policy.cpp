// Loads a checkpoint and prints one action chunk, from a project of its own: see tests/package/CMakeLists.txt for its build file.
//   policy CHECKPOINT "open the faucet" 0.0045,0.4,0.196,1 scene=scene.png wrist=wrist.png
#include <cstdio>
#include <exception>
#include <sstream>
#include <stdexcept>
#include <string>

#include "tessera/io/image.h"
#include "tessera/models/policy/policy.h"

int main(int argc, char** argv) try {
  if (argc < 5) {
    std::fprintf(stderr, "usage: %s CHECKPOINT PROMPT STATE CAMERA=PICTURE...\n", argv[0]);
    return 2;
  }
  tessera::models::Observation observation;
  observation.prompt = argv[2];
  std::istringstream state(argv[3]);
  for (std::string number; std::getline(state, number, ',');) observation.state.push_back(std::stod(number));
  for (int i = 4; i < argc; ++i) {
    const std::string word = argv[i];
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos) throw std::invalid_argument("expected CAMERA=PICTURE, got '" + word + "'");
    observation.images[word.substr(0, equals)] = tessera::io::read_image(word.substr(equals + 1));
  }
  tessera::Context ctx;
  auto policy = tessera::models::Policy::load(ctx, argv[1]);
  const tessera::models::ActionChunk chunk = policy.act(ctx, observation);
  for (std::size_t i = 0; i < chunk.actions.size(); ++i)
    std::printf("%9.4f%c", chunk.actions[i], (i + 1) % static_cast<std::size_t>(chunk.dim) == 0 ? '\n' : ' ');
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
