// Stubs of the Unreal classes that the C++ example in docs/engines.md uses. The example is
// compiled with these stubs, but not run.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#define TEXT(text) text
#define UCLASS(...)
#define UPROPERTY(...)
#define UFUNCTION(...)
#define GENERATED_BODY() typedef UAudioComponent Super;
#define INDEFINITELY_LOOPING_DURATION 10000.0f
using TCHAR = char; using int32 = std::int32_t; using uint8 = std::uint8_t; using SIZE_T = std::size_t;
enum ELevelTick { LEVELTICK_All };
struct FActorComponentTickFunction;
template <class T> struct TArray {
    TArray() = default; TArray(std::initializer_list<T>) {}
    T *begin() const { return nullptr; } T *end() const { return nullptr; }
    T &operator[](int32) const { return *begin(); }
    int32 Num() const { return 0; }
    void Add(const T &) {} void Reset() {} void Empty() {} void RemoveAt(int32) {}
};
template <class T> struct TSharedPtr { T *operator->() const { return nullptr; } T &operator*() const { return *static_cast<T *>(nullptr); } explicit operator bool() const { return false; } };
template <class T> using TSharedRef = TSharedPtr<T>;
template <class T> struct TObjectPtr { TObjectPtr &operator=(T *) { return *this; } T *operator->() const { return nullptr; } operator T *() const { return nullptr; } explicit operator bool() const { return false; } };
struct FString {
    FString() = default; FString(const TCHAR *) {}
    const TCHAR *operator*() const { return ""; }
    FString ReplaceCharWithEscapedChar(const TArray<TCHAR> * = nullptr) const { return {}; }
    template <class... Values> static FString Printf(const TCHAR *, Values...) { return {}; }
};
struct FJsonObject;
struct FJsonValue { double AsNumber() const { return 0; } TSharedPtr<FJsonObject> AsObject() const { return {}; } };
struct FJsonObject {
    double GetNumberField(const FString &) const { return 0; }
    const TArray<TSharedPtr<FJsonValue>> &GetArrayField(const FString &) const { static TArray<TSharedPtr<FJsonValue>> none; return none; }
    bool TryGetNumberField(const FString &, int32 &) const { return false; }
    bool TryGetArrayField(const FString &, const TArray<TSharedPtr<FJsonValue>> *&) const { return false; }
};
template <class T = TCHAR> struct TJsonReaderFactory { static int Create(const FString &) { return 0; } };
struct FJsonSerializer { static bool Deserialize(int, TSharedPtr<FJsonObject> &) { return false; } };
template <class... Values> struct TEvent {
    template <class F> void AddLambda(F &&) {}
    template <class T> void AddUObject(T *, void (T::*)(Values...)) {}
};
struct IWebSocket {
    TEvent<> &OnConnected() { static TEvent<> event; return event; }
    TEvent<const FString &> &OnMessage() { static TEvent<const FString &> event; return event; }
    TEvent<const void *, SIZE_T, bool> &OnBinaryMessage() { static TEvent<const void *, SIZE_T, bool> event; return event; }
    void Connect() {} void Send(const FString &) {}
};
struct FWebSocketsModule { static FWebSocketsModule &Get() { static FWebSocketsModule module; return module; }
    TSharedPtr<IWebSocket> CreateWebSocket(const FString &, const FString &) { return {}; } };
struct USoundWaveProcedural { float Duration; int32 NumChannels; void SetSampleRate(int32) {} int32 GetAvailableAudioByteCount() { return 0; } void QueueAudio(const uint8 *, int32) {} };
template <class T> T *NewObject(void *) { return nullptr; }
struct FTick { bool bCanEverTick; };
struct UAudioComponent {
    FTick PrimaryComponentTick; virtual ~UAudioComponent() = default;
    virtual void BeginPlay() {} virtual void TickComponent(float, ELevelTick, FActorComponentTickFunction *) {}
    void SetSound(USoundWaveProcedural *) {} void Play() {} void Stop() {}
};
