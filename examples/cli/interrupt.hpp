// Ctrl-C during long work: the work ends at the next place where nothing is half done.
#pragma once

#include <string_view>

namespace promiseg::cli {

/// From now on the first interrupt (SIGINT, SIGTERM) is noted; a second one ends the program.
void catch_interrupts();

/// True once an interrupt has come.
bool interrupted();

/// Throws `Error` with the advice once an interrupt has come.
void require_not_interrupted(std::string_view advice);

}  // namespace promiseg::cli
