# sj_sanitizers(target): AddressSanitizer and UndefinedBehaviorSanitizer when SJ_SANITIZE is ON.
option(SJ_SANITIZE "Build with AddressSanitizer and UndefinedBehaviorSanitizer" OFF)

function(sj_sanitizers target)
  if(NOT SJ_SANITIZE)
    return()
  endif()
  if(MSVC)
    message(FATAL_ERROR "SJ_SANITIZE needs GCC or Clang.")
  endif()
  set(flags -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${flags}>)
  target_link_options(${target} PRIVATE ${flags})
endfunction()
