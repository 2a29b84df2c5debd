#include <fmt/core.h>

int main() { fmt::print("tessera {}\n", TESSERA_VERSION); }
