#include "interrupt.hpp"

#include <csignal>

#include "promiseg/core/error.hpp"

namespace promiseg::cli {
namespace {

volatile std::sig_atomic_t interrupt_came = 0;

extern "C" void note_interrupt(int signal) {
  interrupt_came = 1;
  std::signal(signal, SIG_DFL);
}

}  // namespace

void catch_interrupts() {
  std::signal(SIGINT, note_interrupt);
  std::signal(SIGTERM, note_interrupt);
}

bool interrupted() { return interrupt_came != 0; }

void require_not_interrupted(std::string_view advice) {
  if (interrupted()) fail(ErrorCode::io, "interrupted; ", advice);
}

}  // namespace promiseg::cli
