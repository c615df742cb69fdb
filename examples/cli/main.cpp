// The promiseg command.
#include <new>

#include "command.hpp"

namespace {

/// "promiseg: what went wrong", and the exit code that goes with it.
int report(const std::exception& error, int code) {
  std::cerr << "promiseg: " << error.what() << '\n';
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  namespace cli = promiseg::cli;
  CLI::App app(
      "Segments medical images with a frozen Segment Anything model.\n"
      "Start with scripts/demo.sh, or:\n"
      "  promiseg segment image.png --box 50,78,178,195 -o out",
      "promiseg");
  app.require_subcommand(1);
  app.set_version_flag("--version", PROMISEG_VERSION);
  app.get_formatter()->column_width(38);
  cli::add_segment_command(app);
  cli::add_evaluate_command(app);
  cli::add_train_command(app);
  cli::add_convert_command(app);
  cli::add_inspect_command(app);
  cli::add_verify_command(app);
  cli::add_synth_command(app);
  cli::add_trace_command(app);
  cli::add_backends_command(app);
  try {
    app.parse(argc, argv);
    return cli::kExitDone;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    return report(error, cli::kExitUsage);
  } catch (const cli::UsageError& error) {
    return report(error, cli::kExitUsage);
  } catch (const std::bad_alloc&) {
    std::cerr << "promiseg: not enough memory\n";
    return cli::kExitFailed;
  } catch (const std::exception& error) {
    return report(error, cli::kExitFailed);
  }
}
