// What an error that a test provokes says.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "promiseg/core/error.hpp"

namespace promiseg_test {

/// The message of the error that `call` throws, whose code must be `code`; "no error" without one.
template <class Call>
std::string message_of(promiseg::ErrorCode code, const Call& call) {
  try {
    call();
  } catch (const promiseg::Error& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  return "no error";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace promiseg_test
