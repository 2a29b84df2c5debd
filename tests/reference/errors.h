// Checks that a call is refused with the library's one exception, by the right op and for the right reason.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "tessera/core/error.h"

namespace tessera::reference {

/// fn() must throw Error whose message starts with "[op]" and holds `part`.
template <class Fn>
void expect_error(const std::string& op, const std::string& part, Fn fn) {
  try {
    fn();
    ADD_FAILURE() << "no error of " << op << " about " << part;
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()).find("[" + op + "]"), 0u) << e.what();
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

}  // namespace tessera::reference
