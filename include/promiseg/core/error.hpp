// The one exception type of the library.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace promiseg {

/// What kind of thing went wrong, for programs; `Error::what()` is for people.
enum class ErrorCode {
  invalid_argument,  ///< a value the caller passed is outside what the function accepts
  not_found,         ///< a file, or an entry that was asked for by name, is not there
  io,                ///< reading or writing failed half-way (permissions, full disk, ...)
  bad_format,        ///< a file is not what it claims to be, or is truncated
  unsupported,       ///< well-formed, but this build or this library cannot do it
  shape_mismatch,    ///< a tensor or image has other extents than required
  bad_weights,       ///< a weight tensor is missing, unknown, or of the wrong type
};

/// Every failure of the library arrives as this type. The message names the file, tensor or
/// argument, what was expected and what came.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}

  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

/// Builds the message from its parts with `operator<<` and throws `Error`.
template <class... Parts>
[[noreturn]] void fail(ErrorCode code, const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw Error(code, message.str());
}

/// Throws `Error` with the given parts unless `condition` holds.
template <class... Parts>
void require(bool condition, ErrorCode code, const Parts&... parts) {
  if (!condition) fail(code, parts...);
}

}  // namespace promiseg
